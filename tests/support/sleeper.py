"""A service that answers after as many seconds as it is asked to, and requests for it."""

from __future__ import annotations

from runtime import Answer, Connection, json_api

from custom_image.probing.http import Request

SLEEPER = """
import time
from model_service.model_service import SingleNodeService

class Sleeper(SingleNodeService):
    def _inference(self, data):
        time.sleep(data["sleep"])
        return {"slept": data["sleep"]}
"""
SLEEPER_CONFIG = {"model_type": "Image", "apis": [json_api(sleep={"type": "number"})]}


def body(sleep_s: float) -> bytes:
    return b'{"sleep": %.3f}' % sleep_s


def ask(connection: Connection, sleep_s: float = 0.0) -> Answer:
    return connection.ask("POST", "/", body(sleep_s), Content_Type="application/json")


def request(sleep_s: float = 0.0) -> Request:
    """Return the same for the clients of the verifier."""
    return Request("POST", "/", body(sleep_s), "application/json")
