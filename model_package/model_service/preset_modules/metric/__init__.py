"""The platform's package of metrics."""
