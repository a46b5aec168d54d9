"""The one seam: units run here, or on the workers of a Dask scheduler."""

from __future__ import annotations

import socket
import time
from concurrent.futures import as_completed
from pathlib import Path

import pytest
from dask_cluster import dask_cluster
from judging import copy_good_service

from custom_image.errors import Unavailable, UsageError
from custom_image.fleet.executors import Tls, open_executor
from custom_image.fleet.unit import Outcome, Unit, run
from local_modelarts.registry.certificates import ensure_certificates


def verify_folder(folder: Path) -> str:
    arguments = ("verify", str(folder), "--level", "static", "--format", "json")
    return Unit(arguments, alone=False).to_json()


@pytest.fixture
def unit(tmp_path) -> str:
    return verify_folder(copy_good_service(tmp_path))


def test_a_unit_is_a_process_of_this_machine_with_exit_code_and_json(unit):
    with open_executor() as executor:
        outcome = Outcome.from_json(executor.submit(run, unit).result())

    assert outcome.exit_code in (0, 1)
    assert outcome.output["level"] == "static"
    assert outcome.host == socket.gethostname()
    assert outcome.seconds > 0


def test_a_command_that_prints_no_json_says_what_it_said():
    with open_executor() as executor:
        text = Unit(("verify", "./no-such-folder"), alone=False).to_json()
        outcome = Outcome.from_json(executor.submit(run, text).result())

    assert outcome.exit_code == 2
    assert outcome.output is None
    assert "./no-such-folder is not there" in outcome.error


@pytest.mark.parametrize(
    ("unit", "reason"),
    [
        (Unit(("doctor",)), "a worker runs verify, build, fleet, notebooks; found 'doctor'"),
        (Unit(("verify", "x"), image="--privileged"), "is no image reference"),
    ],
)
def test_a_worker_refuses_what_is_no_unit(unit, reason):
    assert reason in Outcome.from_json(run(unit.to_json())).error


def test_a_scheduler_that_does_not_answer_is_an_error_that_says_so():
    with (
        pytest.raises(Unavailable, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:1 "),
        open_executor("tcp://127.0.0.1:1", timeout_s=0.5),
    ):
        pass


@pytest.mark.parametrize("address", ["-x", "tcp://-x:1", "scheduler:8786", "http://a:1"])
def test_what_is_no_address_is_refused(address):
    with pytest.raises(UsageError, match="no address of a Dask scheduler"), open_executor(address):
        pass


def test_tls_belongs_to_its_files(tmp_path):
    with pytest.raises(UsageError, match="tls:// needs --tls-ca"), open_executor("tls://a:1"):
        pass


def test_the_units_of_a_lost_worker_run_on_another(unit, tmp_path):
    certificates = ensure_certificates(tmp_path / "tls")
    tls = Tls(certificates.authority, certificates.certificate, certificates.key)
    options = ["--protocol", "tls", "--tls-ca-file", str(tls.ca), "--tls-cert"]
    options += [str(tls.certificate), "--tls-key", str(tls.key)]
    with dask_cluster(tmp_path, options=options) as cluster:
        cluster.add_worker("first")
        cluster.add_worker("second")
        with open_executor(cluster.address, tls=tls, timeout_s=30) as executor:
            futures = [executor.submit(run, unit) for _ in range(4)]
            while not (running := cluster.children("first")):
                time.sleep(0.01)
            cluster.kill("first")
            outcomes = [Outcome.from_json(future.result()) for future in as_completed(futures)]
        # What the lost worker had begun ends with it.
        while any(Path(f"/proc/{pid}").exists() for pid in running):
            time.sleep(0.01)

    assert [outcome.exit_code for outcome in outcomes] == [outcomes[0].exit_code] * 4
    assert outcomes[0].output["level"] == "static"
