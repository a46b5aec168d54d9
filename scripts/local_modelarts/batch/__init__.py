"""Batch services: inputs, requests to instances, results and manifests."""
