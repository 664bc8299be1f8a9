"""The command line of Janus."""
