"""The members of config.json as pydantic models; each validator is one rule of the platform."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import partial
from html import escape
from itertools import islice
from typing import Annotated, Any, Final

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    PrivateAttr,
    model_validator,
)
from pydantic_core import PydanticCustomError

from custom_image import specification
from custom_image.errors import PackageError
from custom_image.model_config.document import read_json_object
from custom_image.model_config.remarks import Remark
from custom_image.model_config.suggestions import did_you_mean

_MOST_REMARKS: Final = 50


def _refusal(
    expected: str, remediation: str, member: str = "", found: str = ""
) -> PydanticCustomError:
    """Return the error of a validator: what was expected, and what to do about it.

    ``member`` and ``found`` are for validators that see more than the member at fault.
    """
    context = {"expected": expected, "remediation": remediation, "member": member, "found": found}
    return PydanticCustomError("platform", "{expected}", context)


def _one_of(choices: tuple[str, ...], remediation: str, value: str, member: str = "") -> str:
    if value in choices:
        return value
    meant = did_you_mean(value, choices)
    remediation = f'Did you mean "{meant}"?' if meant else remediation
    raise _refusal(" or ".join(choices), remediation, member, value)


def _lower(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value


def _model_algorithm(value: str) -> str:
    longest = specification.MODEL_ALGORITHM_LENGTH
    forbidden = specification.MODEL_ALGORITHM_FORBIDDEN.value
    if not re.match("[A-Za-z]", value):
        expected = "a name that starts with a letter from A to Z"
    elif len(value) > longest.value:
        expected = f"at most {longest}"
    elif re.search(f"[{re.escape(forbidden)}\u3400-\u4dbf\u4e00-\u9fff]", value):
        expected = f"a name without Chinese characters and without any of {' '.join(forbidden)}"
    else:
        return value
    raise _refusal(expected, 'Name what the model does, for example "image_classification".')


def _model_type(value: str) -> str:
    image = specification.MODEL_TYPE.value
    if value != image:
        raise _refusal(f'"{image}"', "A custom image has this type, whatever engine is in it.")
    return value


def _dependencies(value: list[Any] | None) -> list[Any] | None:
    if value:
        raise _refusal(
            "no entry: the platform installs nothing into a custom image",
            "Install these packages in the Dockerfile and remove the section.",
        )
    return value


def _path(value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"/\S*", value):
        raise _refusal(
            'a path that starts with "/" and has no spaces',
            "Give the path that the container serves, without host and port.",
        )
    return value


def _schema(value: Any) -> Any:
    # The platform's table says string, its samples are objects: both are read.
    if not isinstance(value, str):
        return value
    try:
        return read_json_object(value, "data")
    except PackageError as error:
        remediation = "Write the JSON schema of the body as an object."
        raise _refusal("a JSON schema", remediation) from error


def _whole_number(smallest: int, value: Any) -> Any:
    largest = specification.HEALTH_LARGEST.value
    number = int(value) if isinstance(value, str) and re.fullmatch("[0-9]{1,10}", value) else value
    if value is None or (type(number) is int and smallest <= number <= largest):
        return number
    raise _refusal(
        f"a whole number from {smallest} to {largest}",
        'Write a number, or a string of digits such as "5", as the platform itself does.',
    )


def _content_type(body: Body | None) -> Body | None:
    if body is not None:
        remediation = "The gateway passes on no other type."
        _one_of(specification.CONTENT_TYPES, remediation, body.content_type, "Content-type")
    return body


_Path = Annotated[str | None, AfterValidator(_path)]
# Both are read; strings are written, as the v1 API does (the v2 API writes numbers).
_AsString = PlainSerializer(lambda number: None if number is None else str(number))
_FromZero = Annotated[int | None, BeforeValidator(partial(_whole_number, 0)), _AsString]
_FromOne = Annotated[int | None, BeforeValidator(partial(_whole_number, 1)), _AsString]


class _Member(BaseModel):
    """Keeps keys it does not know: the platform's own answers carry undocumented ones."""

    model_config = ConfigDict(
        extra="allow", strict=True, validate_by_name=True, validate_by_alias=True
    )


class Body(_Member):
    """What goes into an api, or comes out of it.

    Attributes:
        data: JSON schema of the body, in which ``{"type": "file"}`` is an uploaded file.
    """

    content_type: str = Field(
        default=specification.CONTENT_TYPES[0],
        validation_alias="Content-type",
        serialization_alias="Content-type",
    )
    data: Annotated[dict[str, Any] | None, BeforeValidator(_schema)] = None


class Api(_Member):
    """One route of the container, called by the platform's gateway.

    Attributes:
        method: in lower case; the platform compares without regard to case.
    """

    url: Annotated[str, AfterValidator(_path)] = specification.INFERENCE_URL.value
    method: Annotated[
        str,
        BeforeValidator(_lower),
        AfterValidator(
            partial(_one_of, specification.API_METHODS, "No other method is passed on.")
        ),
    ] = specification.API_METHODS[0]
    protocol: Annotated[
        str | None,
        BeforeValidator(_lower),
        AfterValidator(lambda p: p and _one_of(("http", "https"), "Or leave it out.", p)),
    ] = None
    request: Annotated[Body | None, AfterValidator(_content_type)] = None
    response: Body | None = None


class Health(_Member):
    """How the platform asks whether an instance is well.

    Attributes:
        url: of an HTTP check.
        command: of an EXEC check; its words are separated by spaces.
        failure_threshold: failures in a row until the instance counts as failed.
    """

    check_method: Annotated[
        str,
        AfterValidator(
            partial(_one_of, specification.HEALTH_METHODS, "The platform has no other check.")
        ),
    ] = specification.HEALTH_METHODS[0]
    protocol: Annotated[
        str | None,
        BeforeValidator(_lower),
        AfterValidator(
            lambda p: p and _one_of(("http",), "The platform probes over HTTP only.", p)
        ),
    ] = None
    url: _Path = None
    command: str | None = None
    initial_delay_seconds: _FromZero = None
    period_seconds: _FromOne = None
    timeout_seconds: _FromOne = None
    failure_threshold: _FromOne = None

    @model_validator(mode="after")
    def _has_what_its_method_needs(self) -> Health:
        http, _ = specification.HEALTH_METHODS
        if self.check_method == http and self.url is None:
            remediation = f'Add "url": "{specification.HEALTH_URL}".'
            raise _refusal(f"a path, because check_method is {http}", remediation, "url", "none")
        if self.check_method != http and not (self.command or "").strip():
            remediation = "Add the command, its words separated by spaces."
            raise _refusal(
                f"a command, because check_method is {self.check_method}",
                remediation,
                "command",
                "none",
            )
        return self


class Metrics(_Member):
    """What was measured of the model, each from 0 to 1."""

    accuracy: float | None = None
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None


class ModelConfig(_Member):
    """config.json of a custom image.

    Raises:
        pydantic.ValidationError: when constructed from members that the platform refuses;
            the functions of :mod:`custom_image.model_config` raise ``PackageError`` instead.
    """

    model_algorithm: Annotated[str, AfterValidator(_model_algorithm)]
    model_type: Annotated[str, AfterValidator(_model_type)]
    runtime: str | None = None
    swr_location: str | None = None
    metrics: Metrics | None = None
    apis: list[Api] = Field(default_factory=list)
    dependencies: Annotated[list[Any] | None, AfterValidator(_dependencies)] = None
    health: Health | None = None
    readiness_health: Health | None = None
    startup_health: Health | None = None
    _remarks: tuple[Remark, ...] = PrivateAttr(())

    @model_validator(mode="after")
    def _every_route_is_declared_once(self) -> ModelConfig:
        seen: set[tuple[str, str]] = set()
        for index, api in enumerate(self.apis):
            route = (api.method, api.url)
            if route in seen:
                remediation = "Remove one of the two, or give it another url."
                found = f"{api.method} {api.url} a second time"
                raise _refusal("each method and url once", remediation, f"apis[{index}]", found)
            seen.add(route)
        return self

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """What the platform ignores or dislikes in the text this was parsed from."""
        return self._remarks

    def remember(self, remarks: Iterable[Remark]) -> None:
        """Keep the remarks on the text that this was read from."""
        self._remarks = tuple(islice(remarks, _MOST_REMARKS))

    def to_json(self) -> str:
        """Return the text of the file: the members that were given, always in the same order."""
        document = self.model_dump(by_alias=True, exclude_unset=True, exclude_none=True)
        return json.dumps(document, indent=2, ensure_ascii=False) + "\n"

    def _repr_html_(self) -> str:
        # A light card of its own: the letters are dark whatever the page is.
        style = "background:#fff;border:1px solid #d0d7de;color:#1a202c;padding:.8em;font-size:85%"
        return f"<pre style='{style}'>{escape(self.to_json())}</pre>"
