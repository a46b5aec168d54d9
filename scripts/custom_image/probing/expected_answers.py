"""The user's own samples: requests with the answers that are expected of them.

A YAML file holds a list; paths in it start where the file is::

    - name: a seven
      file: seven.jpg            # for the part of a form that takes a file
      answer: {mnist_result: 7}  # what is not named here may be anything
    - name: text instead of a picture
      url: /                     # of an api in config.json; the first where none is named
      json: {text: hello}        # a JSON body instead
      status: 415                # any 2xx where none is named
      tolerance: 0.01            # of numbers in the answer

A folder holds ``samples.yaml``, or pairs: ``seven.jpg`` with ``seven.expected.json``.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from custom_image.errors import UsageError
from custom_image.model_config import Api, ModelConfig
from custom_image.probing.http import Answer, Request
from custom_image.probing.sample_requests import FORM_HEADER, JSON_TYPE, form, form_values, is_file

LIST_NAME: Final = "samples.yaml"
EXPECTED_ENDING: Final = ".expected.json"
LARGEST_BYTES: Final = 16_000_000
WARM_UP_NAMES: Final = tuple(
    f"warm_up.{ending}"
    for ending in ("json", "jpg", "jpeg", "png", "bmp", "csv", "txt", "npy", "wav", "mp4", "bin")
)
"""The author's own good request, beside config.json; the first that is there counts."""
ANYTHING: Final = "..."


class Sample(BaseModel):
    """One request, and what is expected of it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = ""
    url: str = ""
    method: str = ""
    file: Path | None = None
    part: str = ""
    json_body: Any = None
    status: int = 0
    answer: Any = ANYTHING
    tolerance: float = 1e-6

    def __str__(self) -> str:
        return self.name or (self.file.name if self.file else f"JSON to {self.url or 'the api'}")

    def to_request(self, config: ModelConfig | None) -> Request:
        """Return the request, its gaps filled from the api that config.json declares."""
        api = _api(self, config)
        url = self.url or (api.url if api else "/")
        method = (self.method or (api.method if api else "post")).upper()
        if self.file is None:
            body = b"" if self.json_body is None else json.dumps(self.json_body).encode()
            return Request(method, url, body, JSON_TYPE if body else "")
        content = _read(self.file)
        if self.file.suffix == ".json":
            return Request(method, url, content, JSON_TYPE)
        body = _form_with(content, self.file.name, api, self.part)
        return Request(method, url, body, FORM_HEADER)

    def fault(self, found: Answer) -> str:
        """Return how an answer differs from what is expected, or an empty string."""
        if found.status != self.status and (self.status or not found.is_good):
            return f"expected {self.status or '2xx'}, found {found}"
        if self.answer == ANYTHING:
            return ""
        try:
            document = json.loads(found.body)
        except ValueError:
            return f"expected JSON, found {found}"
        return difference(self.answer, document, tolerance=self.tolerance)


def warm_up_request(name: str, content: bytes, config: ModelConfig) -> Request | None:
    """Return the request of the author's ``warm_up.*`` beside config.json; None without an api.

    As the runtime reads it: JSON is a body, anything else a file of a form.
    """
    api = next(iter(config.apis), None)
    if api is None or api.method.upper() == "GET":
        return None
    if name.endswith(".json"):
        return Request(api.method.upper(), api.url, content, JSON_TYPE)
    return Request(api.method.upper(), api.url, _form_with(content, name, api), FORM_HEADER)


def read_samples(path: Path) -> tuple[Sample, ...]:
    """Read samples from a YAML file, or from a folder.

    Raises:
        UsageError: there are none, or one of them cannot be understood.
    """
    if path.is_dir() and not (path / LIST_NAME).is_file():
        return _read_pairs(path)
    import yaml  # here: most verifications are given no samples

    file = path / LIST_NAME if path.is_dir() else path
    try:
        document = yaml.safe_load(_read(file))
        entries = [_renamed(entry) for entry in document] if isinstance(document, list) else None
        found = TypeAdapter(tuple[Sample, ...]).validate_python(entries)
    except (yaml.YAMLError, ValidationError) as error:
        lines = str(error).splitlines()
        raise UsageError(
            f"{file}: expected a list of samples, each with a `file` or `json`, and an `answer`.\n"
            f"{' '.join(lines[1:3] or lines)[:200]}"
        ) from error
    if not found:
        raise UsageError(f"{file} holds no sample.")
    return tuple(
        sample.model_copy(update={"file": file.parent / sample.file}) if sample.file else sample
        for sample in found
    )


def difference(expected: Any, found: Any, *, tolerance: float, where: str = "$") -> str:
    """Return the first place where JSON is not as expected, or an empty string.

    Members that are not expected are let pass; numbers may differ by ``tolerance``, relative above
    1 and absolute below.
    """
    if isinstance(expected, dict) and isinstance(found, dict):
        for name, member in expected.items():
            if name not in found:
                return f"{where}.{name} is missing"
            if fault := difference(
                member, found[name], tolerance=tolerance, where=f"{where}.{name}"
            ):
                return fault
        return ""
    if isinstance(expected, list) and isinstance(found, list):
        if len(expected) != len(found):
            return f"{where} has {len(found)} members, expected {len(expected)}"
        pairs = enumerate(zip(expected, found, strict=True))
        faults = (
            difference(mine, theirs, tolerance=tolerance, where=f"{where}[{number}]")
            for number, (mine, theirs) in pairs
        )
        return next((fault for fault in faults if fault), "")
    if _is_number(expected) and _is_number(found):
        if math.isclose(expected, found, rel_tol=tolerance, abs_tol=tolerance):
            return ""
    elif type(expected) is type(found) and expected == found:
        return ""
    return f"{where} is {_shown(found)}, expected {_shown(expected)}"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:80]


def _renamed(entry: Any) -> Any:
    # `json` is a method of every pydantic model, and no name for a field.
    if isinstance(entry, dict) and "json" in entry:
        return {**{k: v for k, v in entry.items() if k != "json"}, "json_body": entry["json"]}
    return entry


def _read_pairs(folder: Path) -> tuple[Sample, ...]:
    found = []
    for expected in sorted(folder.glob(f"*{EXPECTED_ENDING}")):
        name = expected.name.removesuffix(EXPECTED_ENDING)
        requests = [p for p in sorted(folder.glob(f"{name}.*")) if p != expected]
        if len(requests) != 1:
            raise UsageError(
                f"{expected}: expected one file {name}.* beside it, found {len(requests)}."
            )
        try:
            answer = json.loads(_read(expected))
        except ValueError as error:
            raise UsageError(f"{expected}: expected JSON ({error}).") from error
        found.append(Sample(name=name, file=requests[0], answer=answer))
    if not found:
        raise UsageError(
            f"{folder} holds no samples.\nExpected {LIST_NAME}, or pairs such as seven.jpg with "
            f"seven{EXPECTED_ENDING}."
        )
    return tuple(found)


def _form_with(content: bytes, name: str, api: Api | None, part: str = "") -> bytes:
    """Return a form with a file, in the part that takes one where none is named."""
    schema = api.request.data if api and api.request else None
    members = (schema or {}).get("properties") or {}
    part = part or next((n for n, m in members.items() if is_file(m)), "file")
    return form({**form_values(schema), part: content}, name)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}).") from error
    if len(content) > LARGEST_BYTES:
        raise UsageError(f"{path}: more than {LARGEST_BYTES:,} bytes; a sample is smaller.")
    return content


def _api(sample: Sample, config: ModelConfig | None) -> Api | None:
    apis = config.apis if config else []
    return next((api for api in apis if not sample.url or api.url == sample.url), None)
