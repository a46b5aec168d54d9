"""Benchmarks anyone can repeat: the serving runtime beside its peers, in one run."""
