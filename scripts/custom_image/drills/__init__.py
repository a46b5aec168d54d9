"""Experiments on a running service, such as SIGTERM under load; rules judge what they see."""
