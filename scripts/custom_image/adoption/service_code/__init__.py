"""The code of a foreign package, read by ast and never run."""
