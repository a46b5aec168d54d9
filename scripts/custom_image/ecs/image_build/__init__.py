"""Building an image on the server: base image, size estimate, build, log."""
