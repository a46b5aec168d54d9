"""The inference gateway: authentication, limits, routing, asynchronous tasks."""
