"""Waiting for a started service, with its log where it never becomes ready."""

from __future__ import annotations

import time

import requests

from custom_image.engines import Instance
from custom_image.errors import ServiceNotReady

_POLL_S = 0.05
_ONE_ANSWER_S = 5.0


def wait_until_ready(instance: Instance, url_path: str, timeout_s: float) -> float:
    """Return the seconds until ``GET url_path`` first answered 200.

    Raises:
        ServiceNotReady: its first process ended, or ``timeout_s`` passed; with its log.
    """
    began = time.monotonic()
    url = f"{instance.url}{url_path}"
    last = "nothing answered"
    while True:
        left_s = timeout_s - (time.monotonic() - began)
        if left_s <= 0:
            raise ServiceNotReady(
                f"GET {url_path} did not answer 200 within {timeout_s:g} s; last: {last}.\n"
                "See the end of its log, or allow it more time:",
                instance.logs(),
            )
        try:
            status = requests.get(url, timeout=min(_ONE_ANSWER_S, left_s)).status_code
        except requests.RequestException as error:
            last = _in_short(error)
        else:
            if status == requests.codes.ok:
                return time.monotonic() - began
            last = f"status {status}"
        if not instance.is_running():
            code = instance.wait(0)
            raise ServiceNotReady(
                f"the service ended with exit code {code} before GET {url_path} answered 200.\n"
                "See the end of its log:",
                instance.logs(),
            )
        time.sleep(_POLL_S)


def _in_short(error: requests.RequestException) -> str:
    if isinstance(error, requests.Timeout):
        return "no answer in time"
    if "refused" in str(error):
        return "connection refused"
    return type(error).__name__
