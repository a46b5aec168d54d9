"""Scenario ecs_build: an image is built, verified and pushed on a server that SSH leads to.

    build(context, tag, on=server)          BuildContext -> ServerImage, a BuiltImage that is there
    verify(image, on=server)                -> Report
    push(image, reference, on=server)       -> PublishedImage

README.md beside this file tells where a behaviour lives, and what is on the server.
"""

from custom_image.ecs.image_build.base_image import add_libraries, find_base
from custom_image.ecs.image_build.build import ServerImage, attach, build
from custom_image.ecs.image_build.size_estimate import Estimate, Limits, estimate_size
from custom_image.ecs.job import Job
from custom_image.ecs.push.plan import Forecast
from custom_image.ecs.push.push import attach_push, push
from custom_image.ecs.server.server import BuildServer, Server, open_server
from custom_image.ecs.ssh.connection import Connection
from custom_image.ecs.verification import verify

__all__ = [
    "BuildServer",
    "Connection",
    "Estimate",
    "Forecast",
    "Job",
    "Limits",
    "Server",
    "ServerImage",
    "add_libraries",
    "attach",
    "attach_push",
    "build",
    "estimate_size",
    "find_base",
    "open_server",
    "push",
    "verify",
]
