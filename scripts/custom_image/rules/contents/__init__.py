"""Rules about the files in the layers of an image."""
