"""A local ModelArts and the official SDK that speaks to it, unchanged."""

from __future__ import annotations

import configparser
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import huaweicloudsdkswr.v2 as swr
from huaweicloudsdkcore.auth.credentials import BasicCredentials
from huaweicloudsdkcore.exceptions.exceptions import ClientRequestException
from huaweicloudsdkcore.sdk_response import SdkResponse
from huaweicloudsdkmodelarts import v1 as modelarts

from custom_image import local_platform
from custom_image.local_platform import LocalPlatform

TRANSIENT = {"CREATING", "STARTING", "STOPPING", "DELETING", "SNAPSHOTTING", "INIT"}
QUICK = ("speed=20", "requests_per_s=100000", "services=1000", "stop_delay_s=20")
"""Of a platform whose services wait a twentieth of the platform's times, without its limits."""


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 60) -> Any:
    """Poll until something is true; return it."""
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s"
        time.sleep(0.05)
    return found


class RawResponse(SdkResponse):
    """For calls that the SDK has no method for."""

    openapi_types: ClassVar[dict[str, str]] = {}
    attribute_map: ClassVar[dict[str, str]] = {}
    sensitive_list: ClassVar[list[str]] = []

    def __init__(self) -> None:
        super().__init__()


class Cloud:
    """The SDK's clients for one running platform."""

    def __init__(self, platform: LocalPlatform, secret_key: str = "", access_key: str = "") -> None:
        self.platform = platform
        parser = configparser.ConfigParser(interpolation=None)
        parser.read(platform.credentials_file)
        keys = parser["basic"]
        self.access_key, self.secret_key = keys["ak"], keys["sk"]
        self.keys = access_key or keys["ak"], secret_key or keys["sk"], keys["project_id"]
        self.modelarts = self._client(modelarts.ModelArtsClient)
        self.swr = self._client(swr.SwrClient)

    def _client(self, kind: Any) -> Any:
        builder = kind.new_builder().with_credentials(BasicCredentials(*self.keys))
        return builder.with_endpoint(self.platform.endpoint).build()

    def call(self, method: str, path: str, body: object = None, **query: str) -> Any:
        """Make a signed call that the SDK has no method for."""
        return self.modelarts.do_http_request(
            method, path, query_params=[*query.items()], body=body, response_type=RawResponse
        )

    # --- notebook instances -----------------------------------------------------------------------

    def preset_id(self) -> str:
        return self.modelarts.list_image(modelarts.ListImageRequest()).data[0].id

    def create_notebook(self, name: str = "nb", **fields: Any) -> str:
        body = modelarts.NotebookCreateRequest(
            **{
                "name": name,
                "image_id": self.preset_id(),
                "flavor": "modelarts.vm.cpu.2u",
                "volume": modelarts.VolumeMountRequest("EVS", "MANAGED"),
            }
            | fields
        )
        return self.modelarts.create_notebook(modelarts.CreateNotebookRequest(body=body)).id

    def notebook(self, notebook_id: str) -> Any:
        return self.modelarts.show_notebook(modelarts.ShowNotebookRequest(id=notebook_id))

    def settled(self, notebook_id: str) -> Any:
        """Return an instance as soon as nothing is under way with it."""
        return wait_for(
            lambda: n if (n := self.notebook(notebook_id)).status not in TRANSIENT else None,
            "the instance comes to rest",
        )

    def running_notebook(self, **fields: Any) -> str:
        notebook_id = self.create_notebook(**fields)
        assert self.settled(notebook_id).status == "RUNNING", self.notebook(notebook_id).fail_reason
        return notebook_id

    def start(self, notebook_id: str) -> Any:
        return self.modelarts.start_notebook(modelarts.StartNotebookRequest(id=notebook_id))

    def stop(self, notebook_id: str) -> Any:
        return self.modelarts.stop_notebook(modelarts.StopNotebookRequest(id=notebook_id))

    def delete(self, notebook_id: str) -> Any:
        return self.modelarts.delete_notebook(modelarts.DeleteNotebookRequest(id=notebook_id))

    def remove(self, notebook_id: str) -> None:
        """Stop and delete an instance, and wait until it is gone."""
        with suppress(ClientRequestException):  # it is gone already
            if self.settled(notebook_id).status == "RUNNING":
                self.stop(notebook_id)
                self.settled(notebook_id)
            self.delete(notebook_id)
        wait_for(
            lambda: notebook_id not in {notebook.id for notebook in self.notebooks()},
            "the instance is gone",
        )

    def notebooks(self) -> list[Any]:
        return self.modelarts.list_notebooks(modelarts.ListNotebooksRequest(limit=50)).data

    def execute(self, notebook_id: str, script: str) -> str:
        """Run a script inside an instance, as its user."""
        command = ["docker", "exec", f"local-modelarts-notebook-{notebook_id}", "sh", "-c", script]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    # --- images -----------------------------------------------------------------------------------

    def save(self, notebook_id: str, name: str = "saved", tag: str = "1.0", **fields: Any) -> Any:
        body = modelarts.ImageCreateReq(**{"name": name, "namespace": "team", "tag": tag} | fields)
        request = modelarts.CreateImageRequest(id=notebook_id, body=body)
        return self.modelarts.create_image(request)

    def image(self, image_id: str) -> Any:
        return self.modelarts.show_image(modelarts.ShowImageRequest(id=image_id))

    def saved(self, image_id: str) -> Any:
        """Return an image as soon as it is no longer being created."""
        return wait_for(
            lambda: i if (i := self.image(image_id)).status not in TRANSIENT else None,
            "the image is saved or has failed",
        )

    def register(self, **fields: Any) -> Any:
        body = modelarts.ImageRegRequest(**fields)
        return self.modelarts.register_image(modelarts.RegisterImageRequest(body=body))

    def images(self, kind: str = "DEDICATED") -> list[Any]:
        return self.modelarts.list_image(modelarts.ListImageRequest(type=kind)).data

    # --- SWR --------------------------------------------------------------------------------------

    def create_organization(self, name: str) -> None:
        body = swr.CreateNamespaceRequestBody(namespace=name)
        self.swr.create_namespace(swr.CreateNamespaceRequest(body=body))

    def show_tag(self, repository: str, tag: str, namespace: str = "team") -> Any:
        return self.swr.show_repo_tag(
            swr.ShowRepoTagRequest(namespace=namespace, repository=repository, tag=tag)
        )


class Rehearsal:
    """A platform in a folder of its own, started and killed at will."""

    def __init__(self, folder: Path, preset: str) -> None:
        self.folder = folder
        self.preset = preset

    def up(self, settings: Sequence[str] = ()) -> Cloud:
        roomy = ["organizations=100", "notebooks=100", "lease_shortest_ms=1", "save_reserve_s=0"]
        return Cloud(local_platform.start(self.folder, [self.preset], [*roomy, *settings]))

    def restart(self, *settings: str) -> Cloud:
        """Kill it and start it again, with other limits; instances go on running meanwhile."""
        self.kill()
        return self.up(settings)

    def kill(self) -> None:
        if running := local_platform.find(self.folder):
            os.kill(running.pid, signal.SIGKILL)
            self.wait_until_dead()

    def wait_until_dead(self) -> None:
        wait_for(lambda: local_platform.find(self.folder) is None, "the platform is gone")

    def end(self) -> None:
        local_platform.stop(self.folder, purge=True)
