"""Refusals of the gateway, by the generation of the service.

Inference 2.0 (v2) has codes of its own for what APIG and the dispatcher say in v1. Sources, below
https://support.huaweicloud.com/trouble-modelarts/: modelarts_13_0053 (4104), 0055 (8910), 0221
(4205); https://support.huaweicloud.com/modelarts_faq/modelarts_05_0023.html (8909) and
inference2.0-modelarts-0081 (CF2.E00003). Statuses are inferred, and words where no page shows them.
"""

from __future__ import annotations

import ssl
from typing import Final

from local_modelarts import errors
from local_modelarts.errors import ApiError
from local_modelarts.gateway.upstream import BrokenExchange

V1: Final = 1
V2: Final = 2


def body_too_large(generation: int) -> ApiError:
    """The body is larger than the service takes."""
    if generation == V1:
        return errors.body_too_large()
    return ApiError(413, "ModelArts.4104", "The request body is too large.")


def timed_out(generation: int) -> ApiError:
    """No answer in time: of APIG in v1, of the inference gateway in v2."""
    if generation == V1:
        return ApiError(504, "ModelArts.4205", "Connection time out.")
    return ApiError(
        504,
        "CF2.E00003",
        "The request timed out. Lower max_tokens, or raise the request timeout of the service.",
    )


def wrong_protocol(called: str, expected: str) -> ApiError:
    """The call speaks another protocol than the service."""
    text = f"The protocol of the request is {called}, that of the service {expected}."
    return ApiError(400, "ModelArts.8910", text)


def not_reached(generation: int, error: Exception) -> ApiError:
    """An instance cannot be reached, or broke off before it answered."""
    if generation == V2:
        return ApiError(502, "ModelArts.8909", f"Failed to connect to the service: {_why(error)}.")
    if isinstance(error, TimeoutError):
        return errors.backend_timeout()
    if isinstance(error, ssl.SSLError):
        return errors.backend_not_tls()
    if isinstance(error, BrokenExchange):
        return errors.backend_broken()
    return errors.backend_refused()


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return "it does not speak TLS"
    if isinstance(error, TimeoutError):
        return "it accepts no connection in time"
    return "it closed the connection" if isinstance(error, BrokenExchange) else "connection refused"


def wrong_app(reason: str) -> ApiError:
    """APP authentication of v1 failed. Code and first words are APIG's."""
    return ApiError(401, "APIG.0303", f"Incorrect app authentication information: {reason}")
