"""config.json of a foreign package, in whatever state it is, to one for a custom image.

The one reader for such a file: adopting a package and judging a folder use it alike.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from custom_image import specification
from custom_image.adoption.changes import Change, ChangeLog, Kind
from custom_image.adoption.config_json.apis import (
    FORM_TYPE,
    HTTP_CHECK,
    JSON_TYPE,
    correct_apis,
    correct_health,
    rename_keys,
)
from custom_image.adoption.config_json.encoding import decode_text
from custom_image.adoption.config_json.lenient import read_lenient
from custom_image.errors import PackageError
from custom_image.model_config import ModelConfig, Remark, parse_model_config
from custom_image.model_config.document import LARGEST_BYTES, refuse_size, shown
from custom_image.model_config.remarks import METRICS, TOP_KEYS

CONFIG_NAME: Final = "config.json"
DEFAULT_ALGORITHM: Final = "predict_analysis"
_HEALTH_NAMES: Final = ("health", "readiness_health", "startup_health")
_API_MEMBERS: Final = ("url", "method", "protocol", "request", "response")


@dataclass(frozen=True)
class CorrectedConfig:
    """A config.json after it was read with patience.

    Attributes:
        dependencies: what the file named under that key, as it stands there.
        changes: what was changed, guessed or left out.
    """

    config: ModelConfig
    dependencies: Any
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Inputs:
    """What the code reads of a request, where no config.json says it.

    Attributes:
        parts: names of the members or parts.
        uploads: whether they are files.
    """

    parts: tuple[str, ...] = ()
    uploads: bool = False


def correct_config(
    content: bytes | None,
    where: str = CONFIG_NAME,
    inputs: Inputs | None = None,
    *,
    complete: bool = True,
) -> CorrectedConfig:
    """Read a config.json in whatever state it is.

    Args:
        content: of the file; None where there is none, and one is made up.
        where: names the file in messages.
        inputs: what the code reads of a request, for a file that declares no api.
        complete: add the api and the health check that an image needs where none is declared.

    Raises:
        PackageError: it cannot be read, with its line and what to do.
    """
    log = ChangeLog(CONFIG_NAME)
    document = _read(content, where, log)
    dependencies = document.pop("dependencies", None)
    corrected = _correct(document, inputs or Inputs(), log, complete=complete)
    text = json.dumps(corrected, ensure_ascii=False, indent=2)
    config = parse_model_config(text, where)
    if not complete:
        if dependencies:
            why = "the platform installs nothing into a custom image"
            log.add(Kind.MOVED, "dependencies", why, "", "requirements.txt")
        config.remember(_remarks(log.changes))
    return CorrectedConfig(config, dependencies, log.changes)


def _remarks(changes: tuple[Change, ...]) -> Iterator[Remark]:
    """Yield what has no effect as it stands in the file: a misspelt key is not there at all."""
    for change in changes:
        _, _, key = change.where.partition(": ")
        if change.kind in (Kind.CHANGED, Kind.DROPPED) and key not in ("", "model_type"):
            yield Remark("section", key, f"{change.why}: {change.found}")


def _read(content: bytes | None, where: str, log: ChangeLog) -> dict[str, Any]:
    if content is None or not content.strip(b" \t\r\n\0\xef\xbb\xbf\xff\xfe"):
        found = "there is no such file" if content is None else "the file is empty"
        log.add(Kind.ADDED, "", f"{found}; one was made up: a route, and a health check")
        return {}
    if len(content) > LARGEST_BYTES:
        refuse_size(where)
    text, encoding = decode_text(content, where)
    if encoding:
        why = "JSON is UTF-8 without a byte order mark" if "mark" in encoding else "JSON is UTF-8"
        log.add(Kind.READ, "", why, encoding, "UTF-8")
    document, notes = read_lenient(text, where)
    for note in notes:
        log.add(Kind.READ, f"line {note.line}", note.why, note.found)
    if isinstance(document, list):
        if document and all(isinstance(d, dict) and "apis" in d for d in document):
            log.add(Kind.READ, "", "is an array; its first object was taken")
            return dict(document[0])
        log.add(Kind.MOVED, "", "is the array of apis alone, which belongs under a key", "", "apis")
        return {"apis": document}
    if not isinstance(document, dict):
        raise PackageError(
            f"{where}: expected an object, found {shown(document)}.\n"
            "A config.json names the apis of the model; without the file one is made up."
        )
    return document


def _correct(
    document: dict[str, Any], inputs: Inputs, log: ChangeLog, *, complete: bool
) -> dict[str, Any]:
    document = _find_apis(dict(document), inputs, log, complete=complete)
    document = rename_keys(document, TOP_KEYS, "", log)
    out: dict[str, Any] = {"model_algorithm": _algorithm(document.get("model_algorithm"), log)}
    image = specification.MODEL_TYPE.value
    if (found := document.get("model_type")) != image:
        log.add(Kind.CHANGED, "model_type", "a custom image has this type", found or "", image)
    out["model_type"] = image
    for key, why in (
        ("runtime", "a custom image brings its own Python"),
        ("swr_location", "the image is named when the model is created"),
    ):
        if key in document:
            log.add(Kind.DROPPED, key, why, document[key])
    if metrics := _metrics(document.get("metrics"), log):
        out["metrics"] = metrics
    apis = document.get("apis")
    out["apis"] = correct_apis(apis if isinstance(apis, list) else [apis] if apis else [], log)
    if complete and not out["apis"]:
        out["apis"] = [_made_up_api(inputs)]
    for name in _HEALTH_NAMES:
        if (health := correct_health(document.get(name), name, log)) is not None:
            out[name] = health
    if complete and "health" not in out:
        out["health"] = _made_up_health()
        why = "no health check was declared; the runtime in the image answers this one"
        log.add(Kind.ADDED, "health", why, "", specification.HEALTH_URL.value)
    return out


def _find_apis(
    document: dict[str, Any], inputs: Inputs, log: ChangeLog, *, complete: bool
) -> dict[str, Any]:
    """Put under ``apis`` what stands elsewhere, or one that is made up."""
    stray = {key: document[key] for key in _API_MEMBERS if key in document}
    apis = document.get("apis")
    if isinstance(apis, dict) and apis:
        log.add(Kind.CHANGED, "apis", "is an array, also of one api", "", "[...]")
        return {**document, "apis": [apis]}
    if not apis and any(isinstance(stray.get(side), dict) for side in ("request", "response")):
        names = ", ".join(stray)
        log.add(Kind.MOVED, names, "belongs into the array apis", "", "apis[0]")
        return {**{k: v for k, v in document.items() if k not in stray}, "apis": [stray]}
    if complete and not apis:
        api = _made_up_api(inputs)
        content_type = api["request"]["Content-type"]
        route = f"{api['method'].upper()} {api['url']}, {content_type}"
        why = "no apis were declared; this one follows from what the code reads"
        log.add(Kind.ADDED, "apis", why, "", route)
        return {**document, "apis": [api]}
    return document


def _made_up_api(inputs: Inputs) -> dict[str, Any]:
    request: dict[str, Any] = {"Content-type": FORM_TYPE if inputs.uploads else JSON_TYPE}
    if inputs.parts and inputs.uploads:
        properties = {part: {"type": "file"} for part in inputs.parts}
        request["data"] = {"type": "object", "properties": properties}
    return {
        "url": specification.INFERENCE_URL.value,
        "method": specification.API_METHODS[0],
        "request": request,
        "response": {"Content-type": JSON_TYPE},
    }


def _made_up_health() -> dict[str, Any]:
    return {
        "check_method": HTTP_CHECK,
        "protocol": "http",
        "url": specification.HEALTH_URL.value,
        "initial_delay_seconds": str(specification.HEALTH_INITIAL_DELAY.value),
        "period_seconds": str(specification.HEALTH_PERIOD.value),
        "failure_threshold": str(specification.HEALTH_FAILURES.value),
    }


def _algorithm(value: Any, log: ChangeLog) -> str:
    longest = specification.MODEL_ALGORITHM_LENGTH.value
    forbidden = re.escape(specification.MODEL_ALGORITHM_FORBIDDEN.value)
    if value is None:
        why = "every config.json names what the model does; this is the platform's general name"
        log.add(Kind.ADDED, "model_algorithm", why, "", DEFAULT_ALGORITHM)
        return DEFAULT_ALGORITHM
    name = re.sub(f"[{forbidden}\u3400-\u4dbf\u4e00-\u9fff]", "", str(value)).strip()
    name = re.sub("^[^A-Za-z]+", "", name)[:longest].strip() or DEFAULT_ALGORITHM
    if name != value:
        why = f"starts with a letter, has at most {longest} characters and none of Chinese"
        log.add(Kind.CHANGED, "model_algorithm", why, value, name)
    return name


def _metrics(metrics: Any, log: ChangeLog) -> dict[str, Any]:
    if metrics is None:
        return {}
    if not isinstance(metrics, dict):
        log.add(Kind.DROPPED, "metrics", "is no object of measures", metrics)
        return {}
    out: dict[str, Any] = {}
    known = {name.lower(): name for name in METRICS} | {"f1_score": "f1", "f1-score": "f1"}
    for given, value in metrics.items():
        name, where = known.get(given.strip().lower()), f"metrics.{given}"
        if name is None:
            why = f"the platform knows {', '.join(METRICS)} alone"
            log.add(Kind.DROPPED, where, why, value)
            continue
        number = _share(value)
        if number is None:
            if value is not None:
                log.add(Kind.DROPPED, where, "is no number from 0 to 1", value)
            continue
        if number is not value or name != given:
            log.add(Kind.CHANGED, where, "is a number from 0 to 1", value, number)
        out[name] = number
    return out


def _share(value: Any) -> Any:
    """Return a measure as a share; itself where it is one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    percent = isinstance(value, str) and value.strip().endswith("%")
    try:
        number = float(value.strip(" %")) if isinstance(value, str) else value
    except ValueError:
        return None
    if percent or 1 < number <= 100:
        number = round(number / 100, 12)
    return number if math.isfinite(number) and 0 <= number <= 1 else None
