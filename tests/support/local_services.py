"""Services of a local ModelArts, as tests ask for them: deployed, called, watched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Any

import requests
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from local_cloud import Cloud, wait_for
from local_models import call
from small_digits import small_digits

from custom_image.mnist import encode_jpeg

DRAIN = {"DRAIN_SECONDS": "3"}
"""What an image waits on a platform whose speed is 20: 60 s / 20."""
SERVICES = "/v1/{project_id}/services"


def config_of(model_id: str, **fields: Any) -> dict[str, Any]:
    """Return an entry of a service's config, in a dedicated pool unless told otherwise."""
    entry = {
        "model_id": model_id,
        "specification": "modelarts.vm.cpu.2u",
        "instance_count": 1,
        "weight": 100,
        "pool_name": "pool",
        "envs": DRAIN,
    } | fields
    return {name: value for name, value in entry.items() if value is not None}


@dataclass
class Deployed:
    """A service of the classic API."""

    cloud: Cloud
    id: str

    def show(self) -> dict[str, Any]:
        shown: dict[str, Any] = call(self.cloud, "GET", f"{SERVICES}/{self.id}")
        return shown

    def settled(self, timeout_s: float = 60) -> str:
        """Return the status as soon as nothing is under way."""
        busy = ("deploying", "stopping", "deleting")
        status: str = wait_for(
            lambda: None if (found := self.show()["status"]) in busy else found,
            f"service {self.id} comes to rest",
            timeout_s,
        )
        return status

    def running(self) -> Deployed:
        assert self.settled() == "running", self.events()
        return self

    def update(self, *config: dict[str, Any]) -> None:
        call(self.cloud, "PUT", f"{SERVICES}/{self.id}", {"config": list(config)})

    def set_status(self, status: str) -> None:
        call(self.cloud, "PUT", f"{SERVICES}/{self.id}", {"status": status})

    def delete(self) -> None:
        call(self.cloud, "DELETE", f"{SERVICES}/{self.id}")

    def events(self, kind: str = "") -> list[str]:
        """Return what has happened, oldest first; of one kind where one is named."""
        found = call(self.cloud, "GET", f"{SERVICES}/{self.id}/events")["events"]
        return [e["event_info"] for e in reversed(found) if kind in ("", e["event_type"])]

    def logs(self) -> str:
        return local(self.cloud, f"services/{self.id}/logs").text

    def timeline(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = local(self.cloud, f"services/{self.id}/timeline").json()[
            "entries"
        ]
        return found

    @property
    def address(self) -> str:
        return f"{self.cloud.platform.endpoint}/v1/infers/{self.id}"


def deploy(cloud: Cloud, name: str, *config: dict[str, Any], **fields: Any) -> Deployed:
    body = {"service_name": name, "infer_type": "real-time", "config": list(config), **fields}
    return Deployed(cloud, call(cloud, "POST", SERVICES, body)["service_id"])


@contextmanager
def deployed(cloud: Cloud, name: str, *config: dict[str, Any], **fields: Any) -> Iterator[Deployed]:
    """Deploy a service that is gone afterwards."""
    service = deploy(cloud, name, *config, **fields)
    try:
        yield service
    finally:
        with suppress(ClientRequestException):
            service.delete()


def local(cloud: Cloud, path: str) -> requests.Response:
    return requests.get(f"{cloud.platform.endpoint}/local/{path}", timeout=10)


def token(cloud: Cloud) -> str:
    """Return a token for ``X-Auth-Token``."""
    access, secret, _ = cloud.keys
    keys = {"access": {"key": access}, "secret": {"key": secret}}
    identity = {"methods": ["hw_ak_sk"], "hw_ak_sk": keys}
    answer = requests.post(
        f"{cloud.platform.endpoint}/v3/auth/tokens",
        json={"auth": {"identity": identity}},
        timeout=5,
    )
    assert answer.status_code == 201, answer.text
    return answer.headers["X-Context-Token"]


def seven() -> Mapping[str, Any]:
    """Return the form of a prediction whose answer is 7."""
    return {"files": {"images": ("seven.jpg", encode_jpeg(small_digits(train=100).example(7)))}}


def predict(service: Deployed, **headers: str) -> requests.Response:
    """Ask a service what the digit is; ``headers`` are sent beside a token."""
    headers = {"X-Auth-Token": token(service.cloud)} | headers
    return requests.post(service.address, headers=headers, timeout=20, **seven())


@dataclass
class Load:
    """Requests that are sent while something else goes on.

    Attributes:
        answers: status and who answered, or what the gateway said instead.
    """

    address: str
    headers: Mapping[str, str]
    request: Mapping[str, Any]
    answers: list[tuple[int, str]] = field(default_factory=list)
    _stopped: Event = field(default_factory=Event)

    def run(self) -> None:
        with requests.Session() as session:
            session.headers.update(self.headers)
            while not self._stopped.is_set():
                try:
                    answer = session.post(self.address, timeout=30, **self.request)
                    says = answer.headers.get("X-Served-By") or answer.json()["error_code"]
                    self.answers.append((answer.status_code, says))
                except requests.RequestException as error:
                    self.answers.append((0, repr(error)))
                self._stopped.wait(0.03)

    def stop(self) -> None:
        self._stopped.set()

    @property
    def lost(self) -> Counter[str]:
        return Counter(says for status, says in self.answers if status != 200)

    @property
    def served_by(self) -> set[str]:
        return {says for status, says in self.answers if status == 200}

    def wait_for(self, count: int) -> None:
        """Wait until so many more requests have been answered."""
        wanted = len(self.answers) + count
        wait_for(lambda: len(self.answers) >= wanted, f"{count} more answers")


@contextmanager
def under_load(service: Deployed, clients: int = 3) -> Iterator[Load]:
    """Send digits to a service all the time."""
    load = Load(service.address, {"X-Auth-Token": token(service.cloud)}, seven())
    threads = [Thread(target=load.run) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        load.wait_for(3)
        yield load
    finally:
        load.stop()
        for thread in threads:
            thread.join()
