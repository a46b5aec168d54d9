"""Rules that send requests to a running service."""
