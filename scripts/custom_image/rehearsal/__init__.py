"""A rolling update under load on the local platform, every request accounted for."""
