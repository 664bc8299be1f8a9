"""Adapters of the stores, one file each, chosen by URL."""
