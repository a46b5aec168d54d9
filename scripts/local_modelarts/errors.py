"""What the platform answers when it refuses, in its own codes and words.

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
