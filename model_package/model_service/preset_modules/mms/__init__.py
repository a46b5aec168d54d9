"""The platform's package of the MXNet server."""
