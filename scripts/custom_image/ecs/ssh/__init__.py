"""One SSH connection to a server, the commands that run over it, and why it failed."""
