"""Models that are large, slow, or speak in streams: what the serving runtime does with them."""
