"""Libraries that could take the place of code here, beside that code in one run."""
