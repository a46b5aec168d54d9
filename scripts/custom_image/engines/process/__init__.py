"""The engine without containers: the boot file as a process of this machine."""
