"""What the platform would refuse, checked before a request is sent."""
