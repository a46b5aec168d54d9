"""Pushing an image from the server: what will be sent, and the registry that gets it."""
