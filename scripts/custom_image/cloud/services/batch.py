"""A batch service: every file of a folder, or of a manifest, is asked; the results are files too.

Source: https://support.huaweicloud.com/intl/en-us/api-modelarts/CreateService.html
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any, Final

from custom_image.cloud import validation
from custom_image.cloud.api.client import Cloud, open_cloud
from custom_image.cloud.api.failure_bundle import Bundle
from custom_image.cloud.api.polling import wait_until
from custom_image.cloud.conversion import predicting_api
from custom_image.cloud.model import Model
from custom_image.cloud.models import last_trouble
from custom_image.cloud.services.batch_files import (
    MANIFEST,
    BatchResult,
    check_files,
    lay_out,
    read_results,
)
from custom_image.cloud.validation.checks import refuse
from custom_image.errors import CloudRefused
from custom_image.platform_api import BATCH, EVENTS, SERVICES
from custom_image.progress import say
from custom_image.specification import SERVICE_FLAVOR, SERVICE_NAME_LENGTH

LONGESTBATCH_S: Final = 3600.0
_ENDED: Final = ("finished", "failed", "stopped")
_LISTED: Final = 1000
_SHOWN: Final = 5


@dataclass(frozen=True)
class BatchJob:
    """A batch service that has ended.

    Attributes:
        source: where it read.
        destination: where its results are.
        results: of each file; empty where they are in OBS of the cloud.
        was_there: whether it had been done before.
    """

    id: str
    name: str
    status: str
    model: Model
    source: str
    destination: str
    results: tuple[BatchResult, ...] = field(repr=False)
    was_there: bool
    seconds: float

    @property
    def failures(self) -> tuple[BatchResult, ...]:
        """The files that got no answer."""
        return tuple(result for result in self.results if not result.ok)

    def __str__(self) -> str:
        how = "done before" if self.was_there else f"{self.status} in {self.seconds:.1f} s"
        return "\n".join([f"{self.name}: {how}", *(f"  {line}" for line in self._lines())])

    def _repr_html_(self) -> str:
        items = "".join(f"<li>{escape(line)}</li>" for line in self._lines())
        return f"<p><b>{escape(self.name)}</b> {escape(self.status)}</p><ul>{items}</ul>"

    def _lines(self) -> list[str]:
        lines = [f"reads {self.source}", f"writes {self.destination}"]
        if self.results:
            good = len(self.results) - len(self.failures)
            lines.append(f"{good} of {len(self.results)} files answered")
        shown = self.failures[:_SHOWN]
        lines += [f"failed: {failure.name}: {failure.text[:100]}" for failure in shown]
        if more := len(self.failures) - len(shown):
            lines.append(f"and {more} more failed")
        return lines


def batch(
    model: Model,
    source: str | Path,
    destination: str = "",
    *,
    mapping: str = "file",
    rule: Mapping[str, Any] | None = None,
    name: str = "",
    instances: int = 1,
    environment: Mapping[str, str] | None = None,
    url_path: str = "",
    cloud: Cloud | None = None,
    timeout_s: float = LONGESTBATCH_S,
) -> BatchJob:
    """Ask a model about each file and wait for the end; what was done before is found.

    Args:
        model: what :func:`~custom_image.cloud.publish` returned.
        source: a folder or a ``.manifest``: in OBS, or of this machine for the local platform.
        destination: an empty folder in OBS; for files of this machine it is made.
        mapping: ``file``, a request for each file, or ``csv``, one for each line.
        rule: of ``csv``: the schema of a request, an ``index`` of a column at each scalar.
        name: of the service; empty for one that the model and the files decide.
        instances: how many share the work.
        environment: of each instance.
        url_path: of the api; empty for the first that is a POST.
        cloud: where to; None for :func:`~custom_image.cloud.open_cloud`.
        timeout_s: when to give up waiting; the batch goes on.

    Raises:
        UsageError: the platform would refuse it; nothing was sent.
        CloudRefused: it refuses, or the batch as a whole failed; with a bundle.
        Unavailable: the API does not answer.
    """
    cloud = cloud or open_cloud()
    api = predicting_api(model.config, url_path)
    validation.batch_mapping(mapping, api, rule)
    validation.environment(environment or {})
    address, is_local = str(source), "://" not in str(source)
    digest = check_files(Path(source), mapping) if is_local else ""
    name = name or _name(model, digest or address)
    validation.service_name(name)
    if is_local:
        address, destination = lay_out(cloud, Path(source), name)
    elif not destination:
        refuse("dest_path", "an empty folder in OBS", "none", "Make one and name it.")
    validation.batch_service(address.rpartition("/")[0], destination)
    part: dict[str, Any] = {
        "model_id": model.id,
        "specification": SERVICE_FLAVOR.value,
        "instance_count": instances,
        "envs": dict(environment or {}),
        "src_path": address,
        "dest_path": destination,
        "req_uri": api.url,
        "mapping_type": mapping,
    }
    if rule:
        part["mapping_rule"] = dict(rule)
    if address.partition("?")[0].endswith(MANIFEST):
        part["src_type"] = "ManifestFile"
    validation.service_config([part], BATCH)
    body = {"service_name": name, "infer_type": BATCH, "config": [part]}
    began = time.monotonic()
    with Bundle(cloud, BATCH, name) as bundle:
        bundle.add("request.json", body)
        bundle.add("config.json", model.config.to_json())
        bundle.add("image.json", {"reference": model.image, "digest": model.digest})
        found = _find(cloud, name)
        service_id = found or str(
            cloud.call(
                "POST",
                SERVICES,
                body,
                what=f"begin the batch {name}",
                planned={"service_id": "SERVICE_ID"},
            )["service_id"]
        )
        bundle.add("events.json", lambda: _events(cloud, service_id))
        bundle.add("logs.txt", lambda: bundle.logs_of(service_id))
        if found and _show(cloud, found, name).get("status") in _ENDED[1:]:
            say(f"{name} had not been finished; it is begun again")
            cloud.call("PUT", f"{SERVICES}/{found}", {"status": "running"}, what=f"restart {name}")
            found = ""
        shown = _wait(cloud, service_id, name, timeout_s)
        if shown["status"] != "finished":
            raise CloudRefused(
                f"The batch {name} is {shown['status']}.\n"
                f"The platform says: {last_trouble(_events(cloud, service_id))}"
            )
    return BatchJob(
        id=service_id,
        name=name,
        status=shown["status"],
        model=model,
        source=address,
        destination=destination,
        results=read_results(cloud, destination),
        was_there=bool(found),
        seconds=time.monotonic() - began,
    )


def _name(model: Model, what: str) -> str:
    """Return a name that the same batch has again: of the model, and of what is read."""
    digest = hashlib.sha256(f"{model.id} {what}".encode()).hexdigest()[:12]
    return f"{model.name[: SERVICE_NAME_LENGTH.value - len(digest) - 1]}-{digest}"


def _find(cloud: Cloud, name: str) -> str:
    query = {"service_name": name, "infer_type": BATCH, "limit": _LISTED}
    found = cloud.call("GET", SERVICES, query=query, what=f"list the batches {name}")
    for listed in found.get("services") or []:
        if listed.get("service_name") == name and listed.get("infer_type") == BATCH:
            return str(listed["service_id"])
    return ""


def _events(cloud: Cloud, service_id: str) -> list[dict[str, Any]]:
    found = cloud.call("GET", f"{SERVICES}/{service_id}{EVENTS}", what="show the batch's events")
    return sorted(found.get("events") or [], key=lambda event: event.get("occur_time", 0))


def _show(cloud: Cloud, service_id: str, name: str) -> dict[str, Any]:
    path, planned = f"{SERVICES}/{service_id}", {"status": "finished"}
    return cloud.call("GET", path, what=f"show the batch {name}", planned=planned)


def _wait(cloud: Cloud, service_id: str, name: str, timeout_s: float) -> dict[str, Any]:
    return wait_until(
        f"batch {name}",
        lambda: _show(cloud, service_id, name),
        is_settled=lambda shown: shown.get("status") in _ENDED,
        describe=lambda shown: f"{shown.get('status')}, {shown.get('progress', 0)} %",
        timeout_s=timeout_s,
        poll_s=cloud.poll_s,
    )
