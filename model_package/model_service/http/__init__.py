"""From a request to a response, with no input or output of its own."""
