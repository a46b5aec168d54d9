"""Build servers: what they have and lack, and their Docker engine."""
