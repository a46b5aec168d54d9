"""Rules that need no running service: config.json, Dockerfile, metadata of the image."""
