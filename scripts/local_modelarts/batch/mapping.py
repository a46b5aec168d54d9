"""Mapping of files to requests: one request a file, or one request a line of a CSV file.

Source: https://docs.otc.t-systems.com/modelarts/umn/inference_deployment/deploying_a_model_as_batch_services/deploying_as_a_batch_service.html,
"Example Mapping", and the parameters ``mapping_type`` and ``mapping_rule`` of CreateService.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, Final

from custom_image.model_config import Api
from custom_image.platform_api import (
    SCALARS,
    file_member,
    items_of,
    member_type,
    members_of,
    scalars_of,
)
from custom_image.specification import BATCH_CSV, BATCH_PICTURE
from local_modelarts.errors import no_input_params, parameter

_MB: Final = 10**6
_MULTIPART: Final = "multipart/form-data"
_TRUTHS: Final = {"true": True, "1": True, "false": False, "0": False}


class BadInput(Exception):
    """A file, or a line of one, that no request can be made of; the message says why."""


@dataclass(frozen=True)
class Question:
    """One request to the model.

    Attributes:
        files: form fields, each a file name and its content.
        form: form fields of text.
        json: a body in JSON; None for a form.
        line: of the CSV file, counted from 1; 0 where the file is one request as a whole.
        fault: why no request can be made of this line; empty where one can.
    """

    files: Mapping[str, tuple[str, bytes]] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)
    json: Any = None
    line: int = 0
    fault: str = ""


class FileMapping:
    """Each file is the one ``file`` field of a form."""

    def __init__(self, api: Api) -> None:
        schema = api.request.data if api.request else None
        self._field = file_member(schema)
        if not self._field:
            kinds = {name: member_type(member) for name, member in members_of(schema).items()}
            raise parameter(
                f"mapping_type is file, so {api.url} must have exactly one input, of type file; "
                f"it has {kinds or 'none'}."
            )

    def questions(self, path: Path) -> Iterator[Question]:
        """Yield the one request that a file is.

        Raises:
            BadInput: it is larger than the platform takes.
        """
        content = _read(path, BATCH_PICTURE.value * _MB - 1, f"less than {BATCH_PICTURE}")
        yield Question(files={self._field: (path.name, content)})


class CsvMapping:
    """Each line of a CSV file is a request, built by the rule that numbers its columns."""

    def __init__(self, api: Api, rule: object) -> None:
        if not isinstance(rule, dict) or not rule:
            raise parameter("mapping_type is csv, so mapping_rule must be given.")
        self._is_form = bool(api.request and api.request.content_type == _MULTIPART)
        self._rule = rule
        if not _indices(rule):
            raise parameter("mapping_rule: no string, number, integer or boolean has an index.")

    def questions(self, path: Path) -> Iterator[Question]:
        """Yield a request for each line that is not empty.

        Raises:
            BadInput: the file is no CSV file, or larger than the platform takes.
        """
        if path.suffix.lower() != ".csv":
            raise BadInput("The file name does not end in .csv.")
        try:
            content = _read(path, BATCH_CSV.value * _MB, f"at most {BATCH_CSV}")
            text = content.decode("utf-8-sig")
            reader = csv.reader(StringIO(text, newline=""), strict=True)
            for cells in reader:
                if cells:
                    yield self._question(reader.line_num, cells)
        except UnicodeDecodeError as error:
            raise BadInput(f"The file is no text in UTF-8: byte {error.start}.") from error
        except csv.Error as error:
            raise BadInput(f"The file is no CSV file: line {reader.line_num}: {error}.") from error

    def _question(self, line: int, cells: Sequence[str]) -> Question:
        try:
            body = _fill(self._rule, cells)
        except BadInput as error:
            return Question(line=line, fault=str(error))
        if not self._is_form:
            return Question(json=body, line=line)
        # A form whose fields are JSON: inferred, the page shows such a config and no request.
        fields = body if isinstance(body, dict) else {}
        form = {k: v if isinstance(v, str) else json.dumps(v) for k, v in fields.items()}
        return Question(form=form, line=line)


def make_mapping(api: Api, mapping_type: object, rule: object) -> FileMapping | CsvMapping:
    """Return how the files of a batch become requests.

    Raises:
        ApiError: the model declares no input, or the mapping does not fit it.
    """
    if api.request is None or not api.request.data:
        raise no_input_params(api.url)
    if mapping_type == "file":
        return FileMapping(api)
    if mapping_type == "csv":
        return CsvMapping(api, rule)
    raise parameter(f"mapping_type is {mapping_type!r}, expected one of file, csv")


def _read(path: Path, most_bytes: int, expected: str) -> bytes:
    size_bytes = path.stat().st_size
    if size_bytes > most_bytes:
        raise BadInput(f"The file is {size_bytes / _MB:.2f} MB, expected {expected}.")
    return path.read_bytes()


def _indices(schema: object) -> list[int]:
    """Return the columns that a rule uses."""
    found = [leaf.get("index") for _, leaf in scalars_of(schema)]
    return [index for index in found if type(index) is int and index >= 0]


def _fill(schema: Mapping[str, Any], cells: Sequence[str]) -> Any:
    """Return the value that a schema describes; a leaf without a usable index is left out."""
    if schema.get("type") in SCALARS:
        index = schema["index"]
        if index >= len(cells):
            raise BadInput(f"column {index} is missing: there are {len(cells)}")
        return _value(schema["type"], cells[index], index)
    if "properties" in schema:
        members = members_of(schema).items()
        return {name: _fill(child, cells) for name, child in members if _indices(child)}
    return [_fill(child, cells) for child in items_of(schema) if _indices(child)]


def _value(kind: str, text: str, index: int) -> Any:
    try:
        if kind == "string":
            return text
        if kind == "boolean":
            return _TRUTHS[text.strip().lower()]
        number = float(text)
        if kind == "integer" or (number.is_integer() and text.strip().lstrip("+-").isdecimal()):
            return int(text)
        json.dumps(number, allow_nan=False)
    except (ValueError, KeyError, OverflowError) as error:
        raise BadInput(f"column {index} is {text[:40]!r}, expected {kind}") from error
    return number
