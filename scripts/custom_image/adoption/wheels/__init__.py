"""What a foreign package asks for, as wheels that run on the Python of an image."""
