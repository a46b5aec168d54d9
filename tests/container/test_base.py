"""The base image that docker/base makes without a registry."""

from __future__ import annotations

import pytest

from custom_image.builders.base import ensure_base_image, own_base_image
from custom_image.engines import StartOptions
from custom_image.specification import BATCH_TOOLS


@pytest.fixture(scope="module", params=["real-time", "batch"])
def base(request, docker_engine) -> str:
    """A name that nobody has leads to a base made here, whatever the machine holds otherwise."""
    nobody_has = "registry.invalid/nobody/has:this"
    return ensure_base_image(nobody_has, batch=request.param == "batch", engine=docker_engine)


@pytest.fixture
def run(base, docker_engine):
    def run(*command: str, user: str = "1000:100") -> tuple[int, str]:
        options = StartOptions(command=command, user=user)
        with docker_engine.start(base, options) as container:
            return container.wait(30), container.logs()

    return run


def test_a_name_that_cannot_be_pulled_leads_to_a_base_made_here(base, docker_engine):
    assert base in (own_base_image(), own_base_image(batch=True))
    assert docker_engine.has_image(base)


def test_it_has_the_python_that_the_wheels_are_for(run):
    code, log = run("python3", "-c", "import sys, ssl, sqlite3; print(sys.version_info[:2])")

    assert (code, log) == (0, "(3, 11)\n")


def test_it_cannot_install_packages_by_itself(run):
    assert run("python3", "-m", "pip", "--version")[0] == 1
    assert run("python3", "-m", "ensurepip", "--version")[0] == 1


def test_it_trusts_the_usual_certificate_authorities(run):
    script = "import ssl; print(len(ssl.create_default_context().get_ca_certs()))"

    code, log = run("python3", "-c", script)

    assert code == 0
    assert int(log) > 100


def test_it_keeps_nothing_of_the_machine_that_made_it(base, docker_engine):
    files = docker_engine.read_files(
        base,
        [
            "/etc/apt/sources.list",
            "/etc/apt/apt.conf.d/99mmdebstrap",
            "/var/log/dpkg.log",
            "/usr/share/doc/dpkg/copyright",
            "/usr/share/doc/dpkg/changelog.Debian.gz",
        ],
    )

    assert files["/etc/apt/sources.list"] is None, "its mirrors"
    assert files["/etc/apt/apt.conf.d/99mmdebstrap"] is None, "its proxies and options"
    assert files["/var/log/dpkg.log"] is None
    assert files["/usr/share/doc/dpkg/copyright"], "licences stay"
    assert files["/usr/share/doc/dpkg/changelog.Debian.gz"] is None


def test_only_the_batch_base_has_the_tools_of_batch_services(base, run):
    missing = [tool for tool in BATCH_TOOLS if run("sh", "-c", f"command -v {tool}")[0]]

    assert missing == ([] if base == own_base_image(batch=True) else ["java", "zip"])


def test_java_and_zip_do_their_work_for_an_ordinary_user(docker_engine):
    base = ensure_base_image("registry.invalid/nobody/has:this", batch=True, engine=docker_engine)
    work = "java -version && cd /tmp && echo hi >a && zip -q a.zip a && python3 -m zipfile -t a.zip"
    options = StartOptions(command=["sh", "-c", work], user="1000:100")

    with docker_engine.start(base, options) as container:
        assert container.wait(30) == 0, container.logs()
        assert "Done testing" in container.logs()
