"""The clients of ModelArts and its registry SWR, by the official SDK.

The same code speaks to the cloud and to the local ModelArts; only the endpoint differs. Keys come
from the environment (``HUAWEICLOUD_SDK_AK``, ``HUAWEICLOUD_SDK_SK``) or from the SDK's own file,
``~/.huaweicloud/credentials``, and are kept by the SDK alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from custom_image import local_platform
from custom_image.cloud.api.credentials import (
    find_endpoint,
    find_keys,
    names_endpoint,
    placeholder_keys,
    read_keys,
    refusals,
)
from custom_image.cloud.api.notebooks import NotebookInstances
from custom_image.cloud.api.recorder import NotSent, Wire, raw_answer
from custom_image.cloud.validation.checks import region_of
from custom_image.errors import UsageError
from custom_image.extras import require
from custom_image.local_platform import DEFAULT_FOLDER, LocalPlatform
from custom_image.platform_api import V1_PREFIX
from custom_image.progress import say
from custom_image.specification import HUAWEICLOUD, OTC

if TYPE_CHECKING:
    from huaweicloudsdkmodelarts.v1 import ModelArtsClient
    from huaweicloudsdkswr.v2 import SwrClient

_ANSWER_TIMEOUT_S = (10, 120)
_POLL_S, _LOCAL_POLL_S = 2.0, 0.2
_T = TypeVar("_T")


class Cloud(NotebookInstances):
    """The two APIs of one project.

    Attributes:
        endpoint: of ModelArts.
        platform: the local ModelArts, where it is one.
        temporary_api_key: an API key of one hour, once one was needed.
        wire: the diary of the calls, and the switch of a dry run.
    """

    def __init__(
        self,
        modelarts: ModelArtsClient,
        swr: SwrClient,
        endpoint: str,
        wire: Wire | None = None,
        platform: LocalPlatform | None = None,
    ) -> None:
        self._modelarts = modelarts
        self._swr = swr
        self.endpoint = endpoint
        self.wire = wire or Wire()
        self.platform = platform
        self.temporary_api_key = ""

    def __repr__(self) -> str:
        return f"Cloud({self.endpoint!r})"

    @classmethod
    def connect(
        cls,
        endpoint: str = "",
        keys_file: str = "",
        *,
        wire: Wire | None = None,
        platform: LocalPlatform | None = None,
    ) -> Cloud:
        """Return clients of the APIs; nothing is sent yet.

        Args:
            endpoint: of ModelArts; empty for the one that the environment names.
            keys_file: in the SDK's own form; empty for where the SDK looks by itself.
            wire: notes what is sent, or holds it back.
            platform: the local ModelArts that answers there.

        Raises:
            UsageError: there are no keys, or no endpoint, or the extra is not installed.
        """
        require("cloud")
        from huaweicloudsdkcore.http.http_config import HttpConfig
        from huaweicloudsdkmodelarts.v1 import ModelArtsClient
        from huaweicloudsdkswr.v2 import SwrClient

        wire = wire or Wire()
        endpoint = endpoint or find_endpoint()
        try:
            keys = read_keys(keys_file) if keys_file else find_keys()
        except UsageError:
            if not wire.dry_run:
                raise
            keys = placeholder_keys()
        config = HttpConfig.get_default_config()
        config.timeout = _ANSWER_TIMEOUT_S
        clients = [
            kind.new_builder()
            .with_credentials(keys)
            .with_http_config(config)
            .with_http_handler(wire.handler())
            .with_endpoint(address)
            for kind, address in (
                (ModelArtsClient, endpoint),
                # The cloud has a host for each API; the local ModelArts has one for both.
                (SwrClient, endpoint.replace("://modelarts.", "://swr-api.", 1)),
            )
        ]
        with refusals("connect"):
            return cls(clients[0].build(), clients[1].build(), endpoint, wire, platform)

    @property
    def modelarts(self) -> ModelArtsClient:
        """The SDK's client of ModelArts."""
        return self._modelarts

    @property
    def swr(self) -> SwrClient:
        """The SDK's client of the registry's management API."""
        return self._swr

    @property
    def region(self) -> str:
        """The region of the endpoint; empty where its name tells none."""
        return region_of(self.endpoint)

    @property
    def generation(self) -> str:
        """The generation of the API that services are deployed with here: OTC knows v1 alone."""
        return (OTC if ".otc." in self.endpoint else HUAWEICLOUD).generation

    @property
    def poll_s(self) -> float:
        """How long to rest between two looks at what the platform does."""
        return _LOCAL_POLL_S if self.platform or not self.region else _POLL_S

    @property
    def keys(self) -> Any:
        """The SDK's credentials, which sign what is sent past its clients."""
        return self._modelarts.get_credentials()

    @property
    def project_id(self) -> str:
        """The project that all calls are about.

        Raises:
            UsageError: nothing names it.
        """
        project_id = self.keys.project_id
        if not project_id:
            raise UsageError(
                "Which project to work in is not known.\n"
                "Set HUAWEICLOUD_SDK_PROJECT_ID to its id: My Credentials, API Credentials."
            )
        return str(project_id)

    def call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        what: str,
        query: Mapping[str, Any] | None = None,
        planned: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Make a signed call that the SDK has no method for, through its core.

        Args:
            method: of HTTP.
            path: behind ``/v1/{project_id}``, which the SDK fills in.
            body: sent as JSON.
            what: is asked, for messages: ``publish the model mnist``.
            query: of the URL.
            planned: the answer that a dry run goes on with.

        Raises:
            CloudRefused: the API refuses.
            Unavailable: it does not answer.
        """
        _ = self.project_id
        request = {
            "method": method,
            "resource_path": f"{V1_PREFIX}{path}",
            "query_params": [(name, value) for name, value in (query or {}).items()],
            "body": dict(body) if body is not None else None,
            "response_type": raw_answer(),
        }
        answer = self.ask(lambda: self._modelarts.do_http_request(**request), what=what)
        if answer is None:
            return dict(planned or {})
        content = answer.raw_content
        found = json.loads(content) if content else {}
        return found if isinstance(found, dict) else {"items": found}

    def ask(self, send: Callable[[], _T], *, what: str, planned: _T | None = None) -> _T | None:
        """Send by a method of the SDK; in a dry run return ``planned``.

        Raises:
            CloudRefused: the API refuses.
            Unavailable: it does not answer.
        """
        try:
            with refusals(what):
                return send()
        except NotSent:
            return planned

    def organizations(self) -> list[str]:
        """Return the organizations of SWR that these keys may use.

        Raises:
            CloudRefused: the API refuses.
            Unavailable: it does not answer.
        """
        from huaweicloudsdkswr.v2 import ListNamespacesRequest

        found = self.ask(
            lambda: self._swr.list_namespaces(ListNamespacesRequest()),
            what="list the organizations of SWR",
        )
        return [namespace.name for namespace in (found.namespaces if found else None) or []]

    def create_organization(self, name: str) -> None:
        """Create an organization of SWR, unless it is one of these keys' already.

        Raises:
            CloudRefused: its name is taken or not allowed.
            Unavailable: the API does not answer.
        """
        from huaweicloudsdkswr.v2 import CreateNamespaceRequest, CreateNamespaceRequestBody

        if name not in self.organizations():
            body = CreateNamespaceRequestBody(namespace=name)
            self.ask(
                lambda: self._swr.create_namespace(CreateNamespaceRequest(body=body)),
                what=f"create the organization {name}",
            )


def open_cloud(
    where: str = "auto", *, folder: Path = DEFAULT_FOLDER, dry_run: bool = False
) -> Cloud:
    """Return clients of the cloud, or of the local ModelArts.

    Args:
        where: ``cloud``, as the environment names it; ``local``, the local ModelArts, which is
            started where none runs; ``auto``: the cloud where the environment names one.
        folder: of the local ModelArts.
        dry_run: print every call, and send nothing.

    Raises:
        UsageError: ``where`` is none of these, there are no keys or no endpoint, or the
            extra is not installed.
        Unavailable: the local ModelArts cannot run here.
    """
    if where not in ("auto", "local", "cloud"):
        raise UsageError(f"where is {where!r}; expected one of: auto, local, cloud.")
    require("cloud")
    wire = Wire(dry_run=dry_run)
    if where == "cloud" or (where == "auto" and names_endpoint()):
        return Cloud.connect(wire=wire)
    running = local_platform.find(folder) if dry_run else local_platform.start(folder)
    if running is None:
        raise UsageError(
            "Where the calls would go is not known: no local ModelArts runs here.\n"
            "Start one with `custom-image platform up`, or set HW_REGION_NAME to a region."
        )
    say(f"at the local ModelArts, {running.endpoint}")
    return Cloud.connect(running.endpoint, running.credentials_file, wire=wire, platform=running)
