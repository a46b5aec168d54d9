"""An image as Kubernetes objects: a Deployment with what belongs to it, or an InferenceService.

image, config.json ──┐
report of verify ────┴▶ measurements ──▶ pod ──▶ manifests ──▶ YAML
"""
