"""``import utils``: a name that the platform's images bring; no page documents what is in it."""
