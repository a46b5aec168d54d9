"""State that survives a restart: the store, files, OBS buckets, events, the clock."""
