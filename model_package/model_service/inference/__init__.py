"""The model: its steps, where they run, and one copy of it for all workers."""
