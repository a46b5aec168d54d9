"""Notebook instances: their containers, saving and building images, registered images."""
