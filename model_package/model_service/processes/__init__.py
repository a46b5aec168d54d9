"""The first process, its workers, and what both share."""
