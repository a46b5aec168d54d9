"""Secrets in files, code in pickles, and the linters that are run as programs."""
