"""A base image on a server gets the shared objects that wheels need: made here, and sent."""

from __future__ import annotations

import pytest

from custom_image.ecs import add_libraries, find_base
from custom_image.errors import UsageError

pytestmark = [pytest.mark.true_time, pytest.mark.timeout(900)]
NEEDED = {"libc.so.6": "everything", "libgomp.so.1": "lightgbm (lib_lightgbm.so)"}


def test_what_the_servers_base_lacks_is_put_into_one_made_here(
    build_server, ecs_server, docker_engine
):
    base, python = find_base(on=build_server)

    fuller = add_libraries(base, NEEDED, python=python, on=build_server)

    assert fuller != base
    linked = "ldconfig -p | grep -c libgomp.so.1"
    assert ecs_server.run(f"docker run --rm {fuller} sh -c '{linked}'").strip() == "1"
    assert add_libraries(fuller, NEEDED, python=python, on=build_server) == fuller


def test_a_base_that_somebody_named_is_left_as_it_is(build_server, ecs_server):
    base, python = find_base(on=build_server)
    ecs_server.run(f"docker tag {base} somebodys/base:1")

    with pytest.raises(UsageError, match=r"apt-get install .*libgomp1"):
        add_libraries("somebodys/base:1", NEEDED, python=python, on=build_server)
