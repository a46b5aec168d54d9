"""config.json as foreign packages have it: its bytes, its text, its JSON, and what it says."""
