"""One config.json in the forms that the calls want.

ApiV1 calls take the same facts three times over: ``apis`` with ``input_params`` and
``output_params`` as schemas, flat lists of these, and ``initial_config``, a string that holds all
of config.json with its numbers as strings. Inference 2.0 takes probes with whole numbers.

Source: https://docs.otc.t-systems.com/modelarts/api-ref/model_management/creating_a_model.html
"""

from __future__ import annotations

import json
from typing import Any, Final

from custom_image.errors import PackageError
from custom_image.model_config import Api, Health, ModelConfig
from custom_image.platform_api import PROBE_NUMBERS, PROBES_V2
from custom_image.specification import CONTENT_TYPES, HEALTH_METHODS, PORT, REMARK_LENGTH

HTTP: Final = "http"
_JSON, _FORM = CONTENT_TYPES


def to_apis(config: ModelConfig) -> list[dict[str, Any]]:
    """Return ``apis`` of CreateModel: ``request.data`` is called ``input_params`` there."""
    return [
        {
            "url": api.url,
            "method": api.method,
            "protocol": api.protocol or HTTP,
            "input_params": _schema(api, "request"),
            "output_params": _schema(api, "response"),
        }
        for api in config.apis
    ]


def to_params(config: ModelConfig, side: str) -> list[dict[str, Any]]:
    """Return ``input_params`` (of ``request``) or ``output_params`` (of ``response``), flat.

    What is no scalar stands in ``param_desc`` as a JSON schema, as ShowModel returns it.
    """
    params = []
    for api in config.apis:
        for name, member in (_schema(api, side).get("properties") or {}).items():
            kind = str(member.get("type", "object"))
            param = {"url": api.url, "method": api.method, "protocol": api.protocol or HTTP}
            param |= {"param_name": name, "param_type": {"number": "float"}.get(kind, kind)}
            nested = json.dumps(member, separators=(",", ":"))
            # Longer ones are refused: they stand in initial_config in full.
            if kind in ("object", "array") and len(nested) <= REMARK_LENGTH.value:
                param["param_desc"] = nested
            params.append(param)
    return params


def to_initial_config(config: ModelConfig, port: int = PORT.value) -> str:
    """Return config.json as the string that CreateModel takes, with protocol and port."""
    document = json.loads(config.to_json())
    document |= {"protocol": to_protocol(config), "port": str(port)}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def to_metrics(config: ModelConfig) -> str:
    """Return ``model_metrics``: a string too; empty where nothing was measured."""
    if config.metrics is None:
        return ""
    return json.dumps(config.metrics.model_dump(exclude_none=True))


def to_protocol(config: ModelConfig) -> str:
    """Return the protocol of the container's port."""
    return next((api.protocol for api in config.apis if api.protocol), None) or HTTP


def to_probe(health: Health) -> dict[str, Any]:
    """Return a probe of Inference 2.0: whole numbers, none of them below 1."""
    probe: dict[str, Any] = {"check_method": health.check_method}
    if health.check_method == HEALTH_METHODS[0]:
        probe |= {"url": health.url, "protocol": (health.protocol or HTTP).upper()}
    else:
        probe["cmd"] = health.command
    for name in PROBE_NUMBERS:
        number = getattr(health, name)
        if number is not None:
            probe[name] = max(1, number)
    return probe


def to_probes(config: ModelConfig) -> dict[str, dict[str, Any]]:
    """Return the probes of a unit; one ``health`` stands for readiness and liveness both."""
    healths = (config.startup_health, config.readiness_health or config.health, config.health)
    found = zip(PROBES_V2, healths, strict=True)
    return {name: to_probe(health) for name, health in found if health}


def predicting_api(config: ModelConfig, url: str = "") -> Api:
    """Return the api that predictions go to: the one at ``url``, else the first that is a POST.

    Raises:
        PackageError: config.json declares none.
    """
    for api in config.apis:
        if (url and api.url == url) or (not url and api.method != "get"):
            return api
    wanted = f"at {url}" if url else "with the method post"
    raise PackageError(
        f"config.json: expected an api {wanted}, found "
        f"{', '.join(f'{api.method} {api.url}' for api in config.apis) or 'none'}.\n"
        "Declare under apis what the service answers."
    )


def file_field(api: Api) -> str:
    """Return the name of the form's file; empty where the api takes JSON."""
    if api.request is None or api.request.content_type != _FORM:
        return ""
    properties = _schema(api, "request").get("properties") or {}
    return next((name for name, member in properties.items() if member.get("type") == "file"), "")


def _schema(api: Api, side: str) -> dict[str, Any]:
    body = getattr(api, side)
    data: dict[str, Any] = (body.data if body else None) or {"type": "object", "properties": {}}
    return data
