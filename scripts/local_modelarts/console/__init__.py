"""A page to look at the platform with: what there is, how it is, and a form to try a service.

For people at this machine: it answers on loopback only, asks for no login, and can change nothing;
a prediction goes through the gateway like anybody else's. Nothing else depends on it.
"""

from local_modelarts.console.application import PREFIX, console

__all__ = ["PREFIX", "console"]
