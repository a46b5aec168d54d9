"""Answers of a service: from the model or from the platform, and what to do about them.

An answer with the header ``Server: ModelArts`` whose body holds no code of the platform is the
model's: https://support.huaweicloud.com/modelarts_faq/modelarts_05_3135.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

MODEL: Final = "the model"
PLATFORM: Final = "the platform"
_CODE: Final = re.compile(r"(?:ModelArts|APIG)\.\d{4}|CF2\.E\d{5}")
_ADVICE: Final = {
    "APIG.0101": "Copy the URL that the platform shows; its path is of the service's generation.",
    "APIG.0201": "Send a smaller body: the gateway takes 12 MB.",
    "APIG.0301": "Sign with your keys, or set MODELARTS_TOKEN to a token that holds.",
    "APIG.0303": "Send the app's own code in X-Apig-AppCode, or its key in apikey.",
    "ModelArts.4101": "Send an API key that holds: set MODELARTS_API_KEY, or leave it unset.",
    "ModelArts.4103": "Bind the API key to this service.",
    "ModelArts.4104": "Send a smaller body, or raise the request size of the service.",
    "ModelArts.4203": "Wait until an instance is ready; `custom-image deploy` says so.",
    "ModelArts.4205": "Answer within 40 s: make the model faster, or deploy it asynchronously.",
    "ModelArts.4206": "Send fewer requests a second, or raise the rate limit of the service.",
    "ModelArts.4302": "See the service's logs: nothing listens on the declared port.",
    "ModelArts.4503": "See the service's logs: the instance hung up, or speaks another protocol.",
    "ModelArts.8909": "See the service's logs: the instance cannot be reached on its port.",
    "ModelArts.8910": "Call it in the protocol that the service was deployed with.",
    "CF2.E00003": "Lower max_tokens, or raise the request timeout of the service.",
}


def who_answered(headers: Mapping[str, str], text: str) -> str:
    """Return ``the model`` or ``the platform``; empty where nothing tells, as without a gateway."""
    if code_of(text):
        return PLATFORM
    return MODEL if headers.get("Server") == "ModelArts" else ""


def code_of(text: str) -> str:
    """Return the platform's code in the body of an answer; empty where it has none."""
    try:
        document = json.loads(text)
    except ValueError:
        return ""
    code = str(document.get("error_code", "")) if isinstance(document, dict) else ""
    return code if _CODE.fullmatch(code) else ""


def advice(status: int, headers: Mapping[str, str], text: str) -> str:
    """Return what to do about an answer that is none of 200; empty where nothing is known."""
    if code := code_of(text):
        return _ADVICE.get(code, "See the platform's page of error codes.")
    if who_answered(headers, text) == MODEL and status >= 400:
        return "The model itself refused: see what it says, and its logs."
    return ""
