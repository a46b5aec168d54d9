"""Talking to ModelArts by the official SDK: credentials, the client, polling, failure bundles."""
