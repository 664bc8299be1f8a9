"""Bringing the services up and down, per profile."""
