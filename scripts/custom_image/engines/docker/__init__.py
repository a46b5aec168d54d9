"""The engine that runs containers: the Docker SDK behind one door."""
