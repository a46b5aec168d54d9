"""Files to the server: only what changed, resumed where it broke off."""
