"""Rules that stop, load, limit or kill a running service."""
