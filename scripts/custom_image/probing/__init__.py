"""Requests to a service under test, and what its answers should be."""
