"""The platform's resources, one frozen dataclass for each kind.

A change makes a new one: :meth:`local_modelarts.storage.store.State.change`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from local_modelarts.storage.specs import Group, InstanceSpec, read_group, read_spec


@dataclass(frozen=True, kw_only=True)
class Resource:
    """What every resource has.

    Attributes:
        create_at: UTC, in ms; so is ``update_at``.
    """

    kind: ClassVar[str]
    id: str
    status: str
    create_at: int
    update_at: int


@dataclass(frozen=True, kw_only=True)
class Notebook(Resource):
    """A notebook instance."""

    kind: ClassVar[str] = "notebook"
    name: str
    description: str
    flavor: str
    feature: str
    image_id: str
    volume: Mapping[str, Any]
    workspace_id: str
    token: str
    lease_ms: int
    lease_ends_at: int
    lease_type: str
    fail_reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Image(Resource):
    """An image that ModelArts knows of.

    Attributes:
        size: in bytes.
        notebook_id: of the instance that it is saved from.
    """

    kind: ClassVar[str] = "image"
    name: str
    namespace: str
    tag: str
    description: str
    swr_path: str
    type: str
    origin: str
    arch: str
    dev_services: Sequence[str]
    resource_categories: Sequence[str]
    service_type: str
    visibility: str
    workspace_id: str
    size: int
    status_message: str
    notebook_id: str = ""
    digest: str = ""
    flavor_type: str | None = None


@dataclass(frozen=True, kw_only=True)
class Organization(Resource):
    """An organization of SWR; its name is its id."""

    kind: ClassVar[str] = "organization"


@dataclass(frozen=True, kw_only=True)
class Repository(Resource):
    """A repository of SWR that was created before anything was pushed; its name is its id."""

    kind: ClassVar[str] = "repository"
    is_public: bool | None = None
    category: str | None = None
    description: str | None = None


@dataclass(frozen=True, kw_only=True)
class Model(Resource):
    """A model of the classic API.

    Attributes:
        config: config.json.
        apis: url and method of each api.
        image: as the engine names it.
    """

    kind: ClassVar[str] = "model"
    name: str
    version: str
    type: str
    description: str
    source_location: str
    source_copy: bool
    install_type: Sequence[str]
    request_mode: str
    workspace_id: str
    config: Mapping[str, Any]
    port: int
    protocol: str
    command: str
    digest: str = ""
    image: str = ""
    size_bytes: int = 0
    apis: Sequence[Mapping[str, str]] = ()
    error_msg: str = ""


@dataclass(frozen=True, kw_only=True)
class Service(Resource):
    """A real-time service, of either generation of the API.

    Attributes:
        limit: what replaces the gateway's own limits.
        given: the request, of v2.
        previous: what an update has replaced, for the roll-back.
        began_at: the deployment or update; UTC, in ms.
    """

    kind: ClassVar[str] = "service"
    name: str
    generation: int
    infer_type: str
    description: str
    workspace_id: str
    asynchronous: bool
    given: Mapping[str, Any]
    version: str
    versions: Sequence[str]
    auth: str
    websocket: bool
    limit: Mapping[str, float]
    config: Sequence[Group]
    pool: str
    apis: Sequence[Mapping[str, str]]
    deploy_timeout_s: int
    previous: Mapping[str, Any] | None = None
    began_at: int = 0
    error_msg: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "config", [read_group(entry) for entry in self.config])


@dataclass(frozen=True, kw_only=True)
class Instance(Resource):
    """An instance of a service.

    Attributes:
        title: name and version of its model.
        not_before: when it is tried again; UTC, in ms.
        failed: why it never starts.
        lag_s: for how long requests still reach it after it was told to stop.
    """

    kind: ClassVar[str] = "serving_instance"
    service_id: str
    generation: int
    name: str
    group: str
    revision: str
    title: str
    spec: InstanceSpec
    address: str = ""
    tries: int = 0
    not_before: int = 0
    was_ready: bool = False
    failed: str = ""
    timeline: Sequence[Mapping[str, Any]] = ()
    started_at: int = 0
    terminating_at: int = 0
    lag_s: float = 0
    is_signalled: bool = False
    is_killed: bool = False
    is_unrouted: bool = False
    exited: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "spec", read_spec(self.spec))


@dataclass(frozen=True, kw_only=True)
class Batch(Resource):
    """A batch service.

    Attributes:
        config: its one entry, as it was asked for.
    """

    kind: ClassVar[str] = "batch"
    name: str
    description: str
    workspace_id: str
    infer_type: str
    deploy_timeout_s: int
    config: Sequence[Mapping[str, Any]]
    task_id: str
    start_time: int = 0
    finished_time: int = 0
    error_msg: str = ""


@dataclass(frozen=True, kw_only=True)
class Task(Resource):
    """A request to an asynchronous service.

    Attributes:
        answer: its HTTP status and content type, once it is there.
    """

    kind: ClassVar[str] = "task"
    service_id: str
    method: str
    path: str
    headers: Mapping[str, str]
    tries: int = 0
    start_time: int = 0
    finish_time: int = 0
    error_message: str = ""
    answer: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ApiKey(Resource):
    """An API key; its text is kept nowhere.

    Attributes:
        ends_at: UTC, in ms; 0 for never.
        services: the ids of those that it opens.
    """

    kind: ClassVar[str] = "api_key"
    name: str
    description: str
    scope: str
    digest: str
    ends_at: int = 0
    services: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Event(Resource):
    """What has happened to a resource; its status is normal or abnormal."""

    kind: ClassVar[str] = "event"
    of: str
    event_info: str


@dataclass(frozen=True, kw_only=True)
class PodEvent(Resource):
    """What has happened to an instance, in Kubernetes' words; its status is Normal or Warning."""

    kind: ClassVar[str] = "pod_event"
    of: str
    reason: str
    message: str
    count: int = 1
