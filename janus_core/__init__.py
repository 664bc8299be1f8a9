"""The core of Janus: everything that works without a terminal."""

__version__ = "0.1.0"
