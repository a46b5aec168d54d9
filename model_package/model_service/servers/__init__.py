"""Bytes on a socket: the servers, and what each lacks."""
