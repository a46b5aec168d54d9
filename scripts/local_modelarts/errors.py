"""The platform's errors, in its own codes and words.

Source of the codes and of the messages without a remark: the error code page of the API reference,
https://support.huaweicloud.com/intl/en-us/api-modelarts/modelarts_03_0095.html, and for SWR
https://support.huaweicloud.com/intl/en-us/api-swr/ErrorCode.html. "Inferred" marks the rest.
"""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """A refusal as a caller of the API sees it: status, code and message."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message

    def body(self, request_id: str) -> dict[str, Any]:
        """Return the body as ModelArts and its gateway write it."""
        return {"error_code": self.code, "error_msg": self.message, "request_id": request_id}


class SwrError(ApiError):
    """A refusal of the registry's management API."""

    def body(self, request_id: str) -> dict[str, Any]:
        """Return the body as SWR writes it: the old form and the new one in the same object."""
        return {
            "errors": [{"errorCode": self.code, "errorMessage": self.message, "detail": ""}],
            "error_code": self.code,
            "error_msg": self.message,
            "request_id": request_id,
        }


def parameter(detail: str) -> ApiError:
    """A value that is not allowed. What follows the first sentence is inferred."""
    return ApiError(400, "ModelArts.0104", f"Parameter error. {detail}")


def no_instance() -> ApiError:
    """No notebook instance has this id."""
    return ApiError(400, "ModelArts.6309", "The instance does not exist.")


def too_many_instances() -> ApiError:
    """The quota of notebook instances is used up."""
    return ApiError(400, "ModelArts.6302", "The instance count already reaches the maximum value.")


def wrong_state(status: str, wanted: str) -> ApiError:
    """An instance in ``status`` was asked to ``wanted`` (start, stop, delete, save, update)."""
    if wanted == "delete" and status == "RUNNING":
        return ApiError(400, "ModelArts.6304", "Please stop the instance before deleting.")
    code, message = {
        "RUNNING": ("ModelArts.6305", "The instance is already running."),
        "CREATING": ("ModelArts.6306", "The instance is starting."),
        "STARTING": ("ModelArts.6306", "The instance is starting."),
        "STOPPED": ("ModelArts.6307", "The instance has already been stopped."),
        "STOPPING": ("ModelArts.6308", "The instance is stopping."),
        # No page tells the code of the rest: inferred.
    }.get(status, ("ModelArts.0104", f"Parameter error. The instance is in state {status}."))
    return ApiError(400, code, message)


def no_image(image_id: str) -> ApiError:
    """No image has this id or address. The code is documented, its wording inferred."""
    return ApiError(400, "ModelArts.6797", f"The image {image_id} is not found.")


def image_exists(reference: str) -> ApiError:
    """An image of this name and tag is there. The code is documented, its wording inferred."""
    return ApiError(400, "ModelArts.6737", f"The image {reference} already exists: duplicate tag.")


def wrong_signature(reason: str) -> ApiError:
    """The gateway cannot tell who calls."""
    return ApiError(401, "APIG.0301", f"Incorrect IAM authentication information: {reason}")


def wrong_project(project_id: str) -> ApiError:
    """The caller is known, but this is another's project. Inferred from the gateway's codes."""
    return ApiError(
        403,
        "APIG.0302",
        f"The IAM user is not authorized to access the API: project {project_id} is not theirs.",
    )


def no_path(address: str) -> ApiError:
    """There is no such object or folder in OBS; also a field that should name one and does not.

    Source: https://docs.otc.t-systems.com/modelarts/umn/troubleshooting/modelarts_13_0251.html
    """
    return ApiError(400, "ModelArts.3551", f"OBS path {address[:200]} does not exist.")


def no_access(address: str) -> ApiError:
    """An address of OBS leads out of its bucket. Source: see :func:`no_path`."""
    return ApiError(
        400, "ModelArts.3567", f"OBS error occurs because Access Denied. {address[:200]}"
    )


def no_input_params(url: str) -> ApiError:
    """A batch service of a model that declares no input. The wording is inferred."""
    return ApiError(400, "ModelArts.3514", f"The input parameters of {url} are not defined.")


def not_implemented(call: str) -> ApiError:
    """A call that the platform may have and this rehearsal has not; the code is our own."""
    return ApiError(501, "LocalModelArts.501", f"local_modelarts does not implement {call}.")


def swr_parameter(detail: str) -> SwrError:
    """A value that SWR does not allow. What follows the first sentence is inferred."""
    return SwrError(400, "SVCSTG.SWR.4000014", f"Invalid API parameters. {detail}")


def swr_not_found(what: str) -> SwrError:
    """There is no such organization, repository or tag. The wording is inferred."""
    return SwrError(404, "SVCSTG.SWR.4040010", f"The image was not found: {what}.")


def swr_exists(what: str) -> SwrError:
    """It is there already. Documented for images; for organizations inferred."""
    return SwrError(409, "SVCSTG.SWR.4090006", f"{what} already exists.")


def swr_not_empty(what: str) -> SwrError:
    """An organization or a repository still holds images."""
    code = "SVCSTG.SWR.4060074" if what == "organization" else "SVCSTG.SWR.4060012"
    return SwrError(406, code, f"The {what} cannot be deleted because there are images in it.")


def no_model(model_id: str) -> ApiError:
    """No published model has this id. The code is inferred."""
    return ApiError(404, "ModelArts.3002", f"Model {model_id[:64]} does not exist.")


def model_exists(name: str, version: str) -> ApiError:
    """This version of a model is there. Code and wording are inferred."""
    return ApiError(400, "ModelArts.3001", f"Model {name} {version} already exists.")


def model_in_use(name: str, service: str) -> ApiError:
    """A service runs, or could run, instances of a model. Code and wording are inferred."""
    return ApiError(400, "ModelArts.3005", f"Model {name} is used by service {service}.")


def wrong_install_type(name: str) -> ApiError:
    """A model was not imported for services of this kind. The code is documented."""
    return ApiError(
        400, "ModelArts.3589", f"Model {name} cannot be used to deploy this type of service."
    )


def no_service(service_id: str) -> ApiError:
    """No service has this id: the sample of the API reference, "Stopping a Service Task"."""
    return ApiError(404, "ModelArts.3502", f"Service {service_id[:64]} does not exist.")


def service_exists(name: str) -> ApiError:
    """A service has this name. Code and wording are inferred."""
    return ApiError(400, "ModelArts.3501", f"Service {name} already exists.")


def too_many_services() -> ApiError:
    """The quota of real-time services is used up. The code is inferred."""
    return ApiError(400, "ModelArts.0113", "The quota of real-time services is exhausted.")


def wrong_service_state(status: str, wanted: str) -> ApiError:
    """A service in ``status`` was asked to ``wanted``. The code is documented, not the wording."""
    return ApiError(
        400, "ModelArts.3519", f"The service is {status}; in this state it cannot {wanted}."
    )


# The gateway in front of services. Codes and words of APIG:
# https://docs.otc.t-systems.com/modelarts/umn/troubleshooting/ (modelarts_05_3204), of the
# dispatcher behind it (ModelArts.4xxx): modelarts_13_0217 to 0220. Statuses are inferred.
def no_api() -> ApiError:
    """The address is not one of a service, or lacks the path of its api."""
    return ApiError(
        404,
        "APIG.0101",
        "The API does not exist or has not been published in the environment",
    )


def method_not_allowed() -> ApiError:
    """The api was registered with another method. The code is inferred."""
    return ApiError(405, "APIG.0101", "Method Not Allowed")


def body_too_large() -> ApiError:
    """The body is larger than the gateway takes."""
    return ApiError(413, "APIG.0201", "Request entity too large")


def no_service_id() -> ApiError:
    """The address names no service. The wording is inferred."""
    return ApiError(400, "ModelArts.4201", "The request URL does not contain the service ID.")


def service_unavailable() -> ApiError:
    """The service does not run, or none of its instances is ready. The wording is inferred."""
    return ApiError(503, "ModelArts.4203", "The service is unavailable.")


def too_many_requests() -> ApiError:
    """More requests than the traffic limit allows. The wording is inferred."""
    return ApiError(429, "ModelArts.4206", "The number of requests exceeds the traffic limit.")


def backend_refused() -> ApiError:
    """Nobody listens where an instance was."""
    return ApiError(
        503,
        "ModelArts.4302",
        "Gateway forwarding error. Failed to invoke backend service due to connection refused. ",
    )


def backend_broken() -> ApiError:
    """An instance closed a connection that was in use, or answered no HTTP."""
    return ApiError(
        502,
        "ModelArts.4503",
        "Failed to respond due to backend service not found or failed to respond",
    )


def backend_not_tls() -> ApiError:
    """An instance does not speak TLS, and the model says that it does."""
    return ApiError(
        502,
        "ModelArts.4503",
        "Failed to find backend service because SSL error in the backend service, please check "
        "the service is https",
    )


def backend_timeout() -> ApiError:
    """An instance did not answer in time."""
    return ApiError(
        504,
        "ModelArts.4503",
        "Failed to find backend service because response timed out, please confirm your service "
        "is able to process the request without timeout. ",
    )


def wrong_api_key(reason: str) -> ApiError:
    """An API key of v2 that is missing, wrong, expired or deleted. The code is inferred."""
    return ApiError(
        401, "ModelArts.4101", f"Incorrect API key authentication information: {reason}"
    )


def api_key_not_bound() -> ApiError:
    """An API key that is good, but not for this service. The code is inferred."""
    return ApiError(403, "ModelArts.4103", "The API key is not authorized to access the service.")


# Tasks of asynchronous services: no page that could be read shows how they are refused.
def no_task(task_id: str) -> ApiError:
    """The service has no such task. Inferred."""
    return ApiError(404, "ModelArts.0104", f"Parameter error. Task {task_id[:64]} does not exist.")


def task_not_finished(status: str, reason: str) -> ApiError:
    """The result of a task was asked for that has none. Inferred."""
    text = f"The task is {status} and has no result. {reason}".strip()
    return ApiError(409, "ModelArts.0104", f"Parameter error. {text}")


def too_many_tasks() -> ApiError:
    """As many tasks of a service wait and run as it may have. Inferred."""
    return ApiError(429, "ModelArts.4206", "The number of tasks exceeds the limit of the service.")


# Why a save failed, as the image's status_message tells. The titles are documented, the numbers
# that they are compared with are inferred.
def too_large(size_bytes: int, limit_bytes: int) -> str:
    """The container takes more than can be saved."""
    return (
        f"container size {size_bytes // 10**9}G is greater than threshold {limit_bytes // 10**9}G"
    )


TOO_MANY_LAYERS = "too many layers in your image"
STUCK_PROCESSES = (
    "there are processes in 'D' status, please check process status using 'ps -aux' "
    "and kill all the 'D' status processes"
)
LEASE_ENDED = "the instance has been stopped because its lease ended while the image was saved"
LEASE_ENDING = "the lease ends before the image can be saved; renew it first"
PUSH_FAILED = "failed to push the image to SWR"
SAVE_INTERRUPTED = "the instance stopped while the image was saved"
