"""Sending an image by ourselves, where the engine would send what SWR refuses."""
