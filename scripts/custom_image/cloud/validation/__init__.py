"""Validation of requests before they are sent: what the platform would refuse."""
