"""Every number and name the platform prescribes, each with its source.

Nothing else in ``custom_image`` spells a platform number. A :class:`Requirement` prints as people
write it (``50 GB``), so that reports and error messages quote the object that the rule compares
with.
``gb`` is 10**9 bytes, as the platform's pages count.

The platform's pages disagree with each other by age and region (10, 30, 50 GB; 40 s, 60 s), so a
requirement names its edition, says when it is inferred rather than read, and keeps what other pages
say beside it (``also``), each with its own source.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T", int, float, str)

GB: Final = 10**9
MIB: Final = 2**20


@dataclass(frozen=True)
class Source:
    """A page of the platform's documentation.

    Attributes:
        date: of the page, as it says itself; empty where the requirement's edition tells it.
    """

    title: str
    url: str
    date: str = ""

    def __str__(self) -> str:
        return f"{self.title} <{self.url}>"


@dataclass(frozen=True)
class Requirement(Generic[T]):
    """One number or name the platform prescribes.

    Attributes:
        value: in ``unit``.
        unit: as written behind the value: ``s``, ``GB``, ``MB``; empty for names.
        inferred: true where no page states it and it follows from other behaviour.
        also: what other pages say.
    """

    value: T
    unit: str
    source: Source
    edition: str = "international, 2024-10-29"
    inferred: bool = False
    also: tuple[Requirement[Any], ...] = ()

    def __str__(self) -> str:
        return f"{self.value} {self.unit}".rstrip()

    @property
    def date(self) -> str:
        """When the page that states it was written; for an SDK, its version."""
        return self.source.date or self.edition

    @property
    def readings(self) -> tuple[str, ...]:
        """Who says what, where pages disagree: ``40 s: Troubleshooting: ... (2025-07-31)``."""
        said: tuple[Requirement[Any], ...] = (self, *self.also) if self.also else ()
        return tuple(f"{one}: {one.source.title} ({one.date})" for one in said)


SPECIFICATIONS: Final = Source(
    "Creating a Custom Image for an AI Application: Specifications for Custom Images",
    "https://support.huaweicloud.com/docker-modelarts/modelarts_23_0219.html",
)
CONFIG_FILE: Final = Source(
    "Specifications for Editing a Model Configuration File",
    "https://support.huaweicloud.com/intl/en-us/usermanual-standard-modelarts/inference-modelarts-0056.html",
)
ECS_EXAMPLE: Final = Source(
    "Creating a Custom Image on ECS",
    "https://support.huaweicloud.com/docker-modelarts/modelarts_23_0270.html",
)
CUSTOM_ENGINE: Final = Source(
    "Specifications for Custom Engines",
    "https://support.huaweicloud.com/usermanual-standard-modelarts/inference-modelarts-0128.md",
)
CONTAINER_IMAGE: Final = Source(
    "Importing a Meta Model from a Container Image",
    "https://docs.otc.t-systems.com/modelarts/umn/inference_deployment/managing_modelarts_models/"
    "creating_a_model/importing_a_meta_model_from_a_container_image.html",
)
PREDICTION_LIMITS: Final = Source(
    "Accessing a Real-Time Service: limits of the gateway",
    "https://support.huaweicloud.com/inference-modelarts/inference-modelarts-0105.html",
)
DEPLOYMENT_TIMEOUT: Final = Source(
    "Troubleshooting: Service Deployment Failed",
    "https://support.huaweicloud.com/trouble-modelarts/modelarts_13_0195.html",
)
SERVICE_UNREACHABLE: Final = Source(
    "Troubleshooting: Error ModelArts.4503",
    "https://support.huaweicloud.com/trouble-modelarts/modelarts_13_0219.html",
)
SERVICE_OVERLOADED: Final = Source(
    "Troubleshooting: Error ModelArts.4302",
    "https://support.huaweicloud.com/trouble-modelarts/modelarts_13_0218.html",
)
PUSH: Final = Source(
    "Uploading an Image Through a Container Engine Client",
    "https://docs.otc.t-systems.com/software-repository-container/umn/image_management/"
    "uploading_an_image_through_a_container_engine_client.html",
)
ORGANIZATIONS: Final = Source(
    "Organization Management",
    "https://docs.otc.t-systems.com/software-repository-container/umn/organization_management.html",
)
REGISTER_IMAGE: Final = Source(
    "Registering a Custom Image",
    "https://support.huaweicloud.com/api-modelarts/RegisterImage.html",
)
SAVE_IMAGE: Final = Source(
    "Saving a Running Instance as a Container Image",
    "https://support.huaweicloud.com/api-modelarts/CreateImage.html",
)
NOTEBOOK_INFERENCE: Final = Source(
    "Creating a Custom Image in a Notebook Instance Using the Image Saving Function",
    "https://support.huaweicloud.com/docker-modelarts/docker-modelarts_6005.html",
)
INFERENCE_CODE: Final = Source(
    "Specifications for Writing Model Inference Code",
    "https://docs.otc.t-systems.com/modelarts/umn/inference_deployment/inference_specifications/"
    "model_package_specifications/specifications_for_writing_model_inference_code.html",
)
LOG_LEVEL: Final = Source(
    "Troubleshooting: logs below WARNING are not shown",
    "https://support.huaweicloud.com/trouble-modelarts/modelarts_13_0208.html",
)
NO_SUDO: Final = Source(
    "FAQ: no sudo in a notebook instance",
    "https://support.huaweicloud.com/modelarts_faq/modelarts_05_0111.html",
)
INFERENCE_2_0_IMAGE: Final = Source(
    "Inference 2.0: image specifications",
    "https://support.huaweicloud.com/inference-modelarts/inference2.0-modelarts-0003.md",
    "2026-09-08",
)
INFERENCE_2_0_HEALTH: Final = Source(
    "Inference 2.0: health check",
    "https://support.huaweicloud.com/inference-modelarts/inference2.0-modelarts-0095.html",
    "2026-06-18",
)
ARCHITECTURE_MISMATCH: Final = Source(
    "Troubleshooting: exec format error",
    "https://support.huaweicloud.com/trouble-modelarts/modelarts_13_0204.html",
)

RESTARTS: Final = Source(
    "FAQ: the image of a service restarts again and again",
    "https://support.huaweicloud.com/modelarts_faq/modelarts_05_3153.html",
)

# --- Inference 2.0 (v2), pages of 2026 ------------------------------------------------------------
_V2: Final = "https://support.huaweicloud.com/inference-modelarts/inference2.0-modelarts-"
TIMED_OUT: Final = Source(
    "Troubleshooting: Error ModelArts.4205",
    "https://support.huaweicloud.com/trouble-modelarts/modelarts_13_0221.html",
    "2025-07-31",
)
STREAMS_V1: Final = Source(
    "Accessing a Real-Time Service Using Server-Sent Events",
    "https://support.huaweicloud.com/inference-modelarts/inference-modelarts-0124.html",
    "2026-02-05",
)
SIGNED_CALLS: Final = Source(
    "Accessing a Real-Time Service by AK/SK",
    "https://support.huaweicloud.com/inference-modelarts/inference-modelarts-0097.md",
    "2025",
)
GRACEFUL_STOP_V2: Final = Source(
    "Inference 2.0: graceful shutdown", f"{_V2}0094.html", "2026-06-18"
)
API_KEYS_V2: Final = Source("Inference 2.0: API keys", f"{_V2}0008.html", "2026-09-08")
WEBSOCKET_V2: Final = Source("Inference 2.0: WebSocket", f"{_V2}0013.html", "2026")
STREAMS_V2: Final = Source("Inference 2.0: Server-Sent Events", f"{_V2}0014.html", "2026-02-06")
SERVICE_FORM_V2: Final = Source(
    "Inference 2.0: creating a service", f"{_V2}0016.html", "2026-09-08"
)
STORAGE_V2: Final = Source("Inference 2.0: storage of models", f"{_V2}0090.html", "2026-06-18")
QUOTA_V2: Final = Source("Inference 2.0: notes and constraints", f"{_V2}0004.html", "2026")
UPDATE_SERVICE_V2: Final = Source(
    "API reference: UpdateV2Service",
    "https://support.huaweicloud.com/api-modelarts/UpdateV2Service.html",
    "2026-07-02",
)
HOME_MOUNT: Final = Source(
    "AscendCloud inference guide: mounts",
    "https://support.huaweicloud.com/bestpractice-modelarts/modelarts_llm_infer_5905023.html",
    "2025-08-29",
)

# --- size ---------------------------------------------------------------------------------------
IMAGE_SIZE_OTC: Final = Requirement(30, "GB", SPECIFICATIONS, "Open Telekom Cloud, 2024")
IMAGE_SIZE: Final = Requirement(
    50,
    "GB",
    SPECIFICATIONS,
    also=(IMAGE_SIZE_OTC, Requirement(10, "GB", SPECIFICATIONS, "before 2024")),
)
NOTEBOOK_IMAGE_SIZE: Final = Requirement(35, "GB", SPECIFICATIONS)
ENGINE_SIZE: Final = Requirement(30, "GB", CUSTOM_ENGINE)
NOTEBOOK_LAYERS: Final = Requirement(125, "layers", SAVE_IMAGE, inferred=True)
LAYER_SIZE: Final = Requirement(10, "GB", PUSH, "Open Telekom Cloud, 2024")
PUSHED_LAYERS: Final = Requirement(20, "layers", PUSH, "Open Telekom Cloud, 2024")
CLIENT_OLDEST: Final = Requirement("1.11.2", "", PUSH, "Open Telekom Cloud, 2024")
CLIENT_NEWEST: Final = Requirement("24.0.9", "", PUSH, "Open Telekom Cloud, 2024")

# --- HTTP ---------------------------------------------------------------------------------------
PORT: Final = Requirement(8080, "", ECS_EXAMPLE)
BIND_ADDRESS: Final = Requirement("0.0.0.0", "", ECS_EXAMPLE)
INFERENCE_URL: Final = Requirement("/", "", CONFIG_FILE)
HEALTH_URL: Final = Requirement("/health", "", SPECIFICATIONS)
KEEP_ALIVE: Final = Requirement(200, "s", SPECIFICATIONS)
SYNCHRONOUS_LATENCY: Final = Requirement(60, "s", SPECIFICATIONS)
GATEWAY_LATENCY: Final = Requirement(
    40,
    "s",
    PREDICTION_LIMITS,
    also=(
        SYNCHRONOUS_LATENCY,
        # "40 s or 60 s, depending on how the APIG instance was initialised"
        Requirement(60, "s", TIMED_OUT),
    ),
)
REQUEST_BODY: Final = Requirement(
    12,
    "MB",
    PREDICTION_LIMITS,
    # The form of a v2 service sets its own, from 1 to 50 MB.
    also=(Requirement(50, "MB", SERVICE_FORM_V2),),
)
SIGNED_BODY: Final = Requirement(12, "MB", SIGNED_CALLS)

# --- life cycle ---------------------------------------------------------------------------------
SIGTERM_DRAIN: Final = Requirement(60, "s", SPECIFICATIONS)
SIGTERM_EXIT: Final = Requirement(
    90,
    "s",
    SPECIFICATIONS,
    # v2: 30 s for ordinary services, 60 to 300 s for large models; a service sets its own.
    also=(Requirement(30, "s", GRACEFUL_STOP_V2), Requirement(300, "s", GRACEFUL_STOP_V2)),
)
STOP_GRACE_V2: Final = Requirement(30, "s", GRACEFUL_STOP_V2)
STOP_GRACE_RANGE_V2: Final = (60, 300)
DEPLOY_TIMEOUT: Final = Requirement(20, "min", DEPLOYMENT_TIMEOUT)
# Of modelarts.vm.cpu.2u, the smallest public flavor.
INSTANCE_MEMORY: Final = Requirement(8, "GB", DEPLOYMENT_TIMEOUT, inferred=True)
BOOT_FILE: Final = Requirement("/home/run.sh", "", SPECIFICATIONS)
BOOT_COMMAND: Final = Requirement("sh /home/run.sh", "", SPECIFICATIONS)
USER_ID: Final = Requirement(1000, "", CUSTOM_ENGINE)
GROUP_ID: Final = Requirement(100, "", CUSTOM_ENGINE)
USER_NAME: Final = Requirement("ma-user", "", CUSTOM_ENGINE)
USER_HOME: Final = Requirement("/home/ma-user", "", CUSTOM_ENGINE)
MODEL_DIR: Final = Requirement("/home/ma-user/infer/model/1", "", ECS_EXAMPLE, inferred=True)
ENGINE_BOOT_COMMAND: Final = Requirement("sh /home/mind/run.sh", "", CUSTOM_ENGINE)
NOTEBOOK_MOUNTS: Final = ("/home/ma-user/work", "/cache")

# --- health probe: the console's defaults ---------------------------------------------------------
HEALTH_INITIAL_DELAY: Final = Requirement(12, "s", CONTAINER_IMAGE, "Open Telekom Cloud, 2024")
HEALTH_PERIOD: Final = Requirement(5, "s", CONTAINER_IMAGE, "Open Telekom Cloud, 2024")
HEALTH_FAILURES: Final = Requirement(12, "", CONTAINER_IMAGE, "Open Telekom Cloud, 2024")
HEALTH_LARGEST: Final = Requirement(2**31 - 1, "", CONTAINER_IMAGE, "Open Telekom Cloud, 2024")
HEALTH_METHODS: Final = ("HTTP", "EXEC")
HEALTH_PERIOD_2_0: Final = Requirement(10, "s", INFERENCE_2_0_HEALTH, "Inference 2.0, 2026")
HEALTH_TEXT_LENGTH: Final = Requirement(
    1024, "characters", INFERENCE_2_0_HEALTH, "Inference 2.0, 2026"
)
HEALTH_COMMAND_FORBIDDEN: Final = Requirement(
    "#~^$|%&*<>()'\"[]{}", "", INFERENCE_2_0_HEALTH, "Inference 2.0, 2026"
)
STARTUP_PROBE_FROM: Final = Requirement(30, "s", INFERENCE_2_0_HEALTH, inferred=True)

# --- names in the registry ------------------------------------------------------------------------
ORGANIZATION_LENGTH: Final = Requirement(64, "characters", ORGANIZATIONS)
REPOSITORY_LENGTH: Final = Requirement(128, "characters", ORGANIZATIONS)
TAG_LENGTH: Final = Requirement(64, "characters", SAVE_IMAGE)
IMAGE_PATH_LENGTHS: Final = (16, 2048)

# --- config.json ----------------------------------------------------------------------------------
MODEL_TYPE: Final = Requirement("Image", "", CONFIG_FILE)
MODEL_ALGORITHM_LENGTH: Final = Requirement(36, "characters", CONFIG_FILE)
MODEL_ALGORITHM_FORBIDDEN: Final = Requirement("&!'\\\"<>=", "", CONFIG_FILE)
METRIC_DECIMALS: Final = Requirement(17, "decimals", CONFIG_FILE)
CONTENT_TYPES: Final = ("application/json", "multipart/form-data")
API_METHODS: Final = ("post", "get")
BATCH_TOOLS: Final = ("python3", "java", "zip")

# --- batch and asynchronous services --------------------------------------------------------------
BATCH_SERVICE: Final = Source(
    "Deploying as a Batch Service",
    "https://docs.otc.t-systems.com/modelarts/umn/inference_deployment/"
    "deploying_a_model_as_batch_services/deploying_as_a_batch_service.html",
)
ASYNCHRONOUS_SERVICE: Final = Source(
    "Inference 2.0: asynchronous inference",
    "https://support.huaweicloud.com/inference-modelarts/inference2.0-modelarts-0079.html",
)
CONSOLE_PREDICTION: Final = Source(
    "Testing the Deployed Service",
    "https://docs.otc.t-systems.com/modelarts/umn/inference_deployment/"
    "deploying_a_model_as_real-time_services/testing_the_deployed_service.html",
)
CONSOLE_BODY: Final = Requirement(8, "MB", CONSOLE_PREDICTION, "Open Telekom Cloud, 2025")
BATCH_COUNT: Final = Requirement(1000, "services", BATCH_SERVICE, "Open Telekom Cloud, 2025")
BATCH_PICTURE: Final = Requirement(10, "MB", BATCH_SERVICE, "Open Telekom Cloud, 2025")
BATCH_CSV: Final = Requirement(12, "MB", BATCH_SERVICE, "Open Telekom Cloud, 2025")
TASK_COUNT: Final = Requirement(10_000, "tasks", ASYNCHRONOUS_SERVICE, "SDK 3.1.219")

# --- requests about models and services -----------------------------------------------------------
CREATE_MODEL: Final = Source(
    "API reference: Creating a Model",
    "https://support.huaweicloud.com/intl/en-us/api-modelarts/CreateModel.html",
)
CREATE_SERVICE: Final = Source(
    "API reference: Deploying Services",
    "https://support.huaweicloud.com/intl/en-us/api-modelarts/CreateService.html",
)
CREATE_INFER_SERVICE: Final = Source(
    "API reference: Creating a Service (Inference 2.0)",
    "https://support.huaweicloud.com/intl/en-us/api-modelarts/CreateInferService.html",
)
_NEW: Final = "Inference 2.0, SDK 3.1.219"
MODEL_NAME_LENGTH: Final = Requirement(64, "characters", CREATE_MODEL)
SERVICE_NAME_LENGTH: Final = Requirement(64, "characters", CREATE_SERVICE)
SERVICE_NAME_LENGTH_V2: Final = Requirement(
    128,
    "characters",
    UPDATE_SERVICE_V2,
    also=(
        Requirement(128, "characters", SERVICE_FORM_V2),
        Requirement(64, "characters", CREATE_INFER_SERVICE, _NEW),
    ),
)
MODEL_VERSION_LARGEST: Final = Requirement(99, "", CREATE_MODEL)
REMARK_LENGTH: Final = Requirement(100, "characters", CREATE_MODEL)
MODEL_REMARK_FORBIDDEN: Final = Requirement("&!'\"<>=", "", CREATE_MODEL)
SERVICE_REMARK_FORBIDDEN: Final = Requirement("!<>=&+\"'", "", CREATE_SERVICE)
MODEL_DOCUMENTS: Final = Requirement(3, "documents", CREATE_MODEL)
SERVICE_INSTANCES: Final = Requirement(128, "instances", CREATE_SERVICE)
SERVICE_WEIGHTS: Final = Requirement(100, "%", CREATE_SERVICE)
SERVICE_FLAVOR: Final = Requirement("modelarts.vm.cpu.2u", "", CREATE_SERVICE)
DEPLOY_TIMEOUT_RANGE: Final = (3, 120)
DEPLOY_TIMEOUT_RANGE_2_0: Final = (1, 300)
ENVIRONMENT_KEY_LENGTH: Final = Requirement(64, "characters", CREATE_INFER_SERVICE, _NEW)
ENVIRONMENT_VALUE_FORBIDDEN_2_0: Final = Requirement("<^>", "", CREATE_INFER_SERVICE, _NEW)
MOUNT_PATH_LENGTH: Final = Requirement(1024, "characters", CREATE_SERVICE)
MOUNT_PATH_LENGTH_2_0: Final = Requirement(255, "characters", CREATE_INFER_SERVICE, _NEW)
MOUNT_COUNT: Final = Requirement(10, "mounts", CREATE_SERVICE)
MOUNT_FORBIDDEN: Final = ("/", "/var/run")
MOUNT_HOME: Final = Requirement("/home/ma-user", "", HOME_MOUNT)
MOUNT_SOURCES_V2: Final = ("OBS", "OBSFS", "EFS")
STOP_COMMAND_LENGTH: Final = Requirement(255, "characters", CREATE_INFER_SERVICE, _NEW)
VERSION_RANGE_2_0: Final = ("1.0.0", "99.99.99")
REMARK_LENGTH_2_0: Final = Requirement(512, "characters", CREATE_INFER_SERVICE, _NEW)
REQUEST_BODY_RANGE_2_0: Final = (1, 50)
REQUEST_TIMEOUT_RANGE_2_0: Final = (1, 7200)
REQUEST_TIMEOUT_LONGEST: Final = Requirement(
    1200,
    "s",
    STREAMS_V2,
    inferred=True,
    also=(Requirement(7200, "s", CREATE_INFER_SERVICE, _NEW),),
)
STREAM_LONGEST: Final = Requirement(3600, "s", STREAMS_V2, inferred=True)
STREAM_TYPE: Final = Requirement("text/event-stream;charset=UTF-8", "", STREAMS_V1)
WEBSOCKET_FRAME: Final = Requirement(64, "KB", WEBSOCKET_V2)
AUTHENTICATION_V2: Final = ("TOKEN", "API_KEY", "NONE")
PROTOCOLS_V2: Final = ("HTTP", "HTTPS", "WS", "WSS")
API_KEY_COUNT: Final = Requirement(100, "keys", API_KEYS_V2)
API_KEY_BATCH: Final = Requirement(10, "keys", API_KEYS_V2, _NEW)
API_KEY_HOURS: Final = (1, 24)

# --- running services -----------------------------------------------------------------------------
TRAFFIC_LIMIT: Final = Source(
    "Troubleshooting: Error ModelArts.4206",
    "https://support.huaweicloud.com/trouble-modelarts/modelarts_13_0217.html",
)
TOKENS: Final = Source(
    "API reference of IAM: Obtaining a User Token",
    "https://support.huaweicloud.com/intl/en-us/api-iam/iam_30_0001.html",
)
SERVICE_COUNT: Final = Requirement(20, "services", PREDICTION_LIMITS)
REQUEST_RATE: Final = Requirement(100, "requests/s", TRAFFIC_LIMIT)
STOP_DELAY: Final = Requirement(180, "s", INFERENCE_2_0_HEALTH)
HEALTH_INITIAL_DELAY_2_0: Final = Requirement(30, "s", INFERENCE_2_0_HEALTH, _NEW)
HEALTH_TIMEOUT_2_0: Final = Requirement(30, "s", INFERENCE_2_0_HEALTH, _NEW)
HEALTH_FAILURES_2_0: Final = Requirement(3, "", INFERENCE_2_0_HEALTH, _NEW)
MAX_SURGE: Final = Requirement(1, "instances", CREATE_SERVICE)
MAX_UNAVAILABLE: Final = Requirement(0, "instances", CREATE_SERVICE)
ROLLING_2_0: Final = Requirement(1, "%", CREATE_INFER_SERVICE, _NEW)
TOKEN_LIFETIME: Final = Requirement(24, "h", TOKENS)

# --- notebook instances, saved and registered images ----------------------------------------------
CREATE_NOTEBOOK: Final = Source(
    "API reference: Creating a Notebook Instance",
    "https://support.huaweicloud.com/api-modelarts/CreateNotebook.html",
)
QUOTAS: Final = Source(
    "Notes and Constraints",
    "https://support.huaweicloud.com/productdesc-modelarts/modelarts_01_0062.html",
)
SIGNATURES: Final = Source(
    "API Request Signing Guide: Common Errors Related to IAM Authentication Information",
    "https://support.huaweicloud.com/intl/en-us/devg-apisign/api-sign-0001.html",
)
SAVE_TIME: Final = Requirement(300, "s", SAVE_IMAGE, inferred=True)
SAVED_IMAGE_NAME: Final = Requirement(128, "characters", SAVE_IMAGE)
DESCRIPTION_LENGTH: Final = Requirement(512, "characters", SAVE_IMAGE)
IMAGE_TAGS: Final = Requirement(20, "tags", REGISTER_IMAGE)
IMAGE_README: Final = Requirement(3000, "characters", REGISTER_IMAGE)
NOTEBOOK_NAME: Final = Requirement(128, "characters", CREATE_NOTEBOOK)
NOTEBOOK_LEASE: Final = Requirement(3_600_000, "ms", CREATE_NOTEBOOK)
NOTEBOOK_LEASE_LONGEST: Final = Requirement(259_200_000, "ms", CREATE_NOTEBOOK)
NOTEBOOK_VOLUME: Final = Requirement(5, "GB", CREATE_NOTEBOOK)
NOTEBOOK_COUNT: Final = Requirement(10, "instances", QUOTAS)
NOTEBOOK_FLAVOR: Final = Requirement("modelarts.vm.cpu.2u", "", CREATE_NOTEBOOK)
SIGNATURE_AGE: Final = Requirement(900, "s", SIGNATURES)
ORGANIZATION_COUNT: Final = Requirement(5, "organizations", ORGANIZATIONS)
REGISTRY_LOGIN: Final = Requirement(6, "h", ORGANIZATIONS)

# --- editions -------------------------------------------------------------------------------------
Number = Requirement[int] | Requirement[float]


@dataclass(frozen=True)
class Edition:
    """The limits of an edition of the platform; any of them can be replaced for one verification.

    Attributes:
        profile: what an image is judged for where nothing else is said.
        generation: of the API that services are deployed with, ``v1`` or ``v2``.
        latency: of a synchronous prediction: the gateway cuts at 40 s, older pages say 60 s.
    """

    name: str
    profile: str
    generation: str
    image_size: Number
    notebook_image_size: Number = NOTEBOOK_IMAGE_SIZE
    latency: Number = GATEWAY_LATENCY
    engine_size: Number = ENGINE_SIZE
    notebook_layers: Number = NOTEBOOK_LAYERS
    layer_size: Number = LAYER_SIZE
    pushed_layers: Number = PUSHED_LAYERS
    port: Number = PORT
    keep_alive: Number = KEEP_ALIVE
    sigterm_drain: Number = SIGTERM_DRAIN
    sigterm_exit: Number = SIGTERM_EXIT
    startup_probe_from: Number = STARTUP_PROBE_FROM
    request_body: Number = REQUEST_BODY
    memory: Number = INSTANCE_MEMORY


HUAWEICLOUD: Final = Edition("huaweicloud", "v2", "v2", IMAGE_SIZE)
"""Huawei Cloud of 2026, which deploys with Inference 2.0; the default."""
CLASSIC: Final = Edition("classic", "v1", "v1", IMAGE_SIZE)
"""The page "Specifications for Custom Images" of 2024, whose generation is being switched off."""
OTC: Final = Edition("otc", "v1", "v1", IMAGE_SIZE_OTC)
"""Open Telekom Cloud, whose manual knows v1 alone."""
EDITIONS: Final = {edition.name: edition for edition in (HUAWEICLOUD, CLASSIC, OTC)}

REPLACED_IN_V2: Final = {"user.root": INFERENCE_2_0_IMAGE}
"""Rules of the page of v1 that v2 holds otherwise, and the page that says so; all others stay."""
LAST_RELEASE: Final = ("0.1.0", "2026-11-24")
"""What ``rules --changed`` counts from: the version before this one, and the day of its last
commit, a51236f, as it has no tag."""
