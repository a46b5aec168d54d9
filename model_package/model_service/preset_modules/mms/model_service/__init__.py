"""The base classes of the MXNet server."""
