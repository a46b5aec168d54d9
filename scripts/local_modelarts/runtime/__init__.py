"""Running services: reconciler, instances, probes, rolling updates, routing."""
