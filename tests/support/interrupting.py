"""Python that Ctrl-C reaches, wherever the tests themselves were started."""

# A shell starts what stands before a `&` with SIGINT ignored, and a Python that inherits this
# installs no handler: https://docs.python.org/3/library/signal.html#signal.default_int_handler
INTERRUPTIBLE = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
