"""The Predictions form of a service, made from what its model declares in config.json.

Source: https://docs.otc.t-systems.com/modelarts/umn/inference_deployment/inference_specifications/model_package_specifications/specifications_for_editing_a_model_configuration_file.html:
a ``file`` is an upload, anything else a text box.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from custom_image.model_config import Api, ModelConfig
from local_modelarts.errors import parameter
from local_modelarts.platform import Platform
from local_modelarts.storage.resources import Model, Service

_MULTIPART: Final = "multipart/form-data"
_BLANKS: Final = {"array": "[]", "object": "{}", "boolean": "true"}


@dataclass(frozen=True)
class Upload:
    """A file that was chosen."""

    name: str
    content: bytes
    content_type: str


@dataclass(frozen=True)
class Field:
    """One input of a form.

    Attributes:
        kind: ``file``, ``string``, or another type of JSON schema, written as JSON.
        blank: what stands in the text box at first.
    """

    name: str
    kind: str
    is_required: bool
    description: str = ""
    blank: str = ""

    @property
    def is_file(self) -> bool:
        """Whether it is an upload."""
        return self.kind == "file"


@dataclass(frozen=True)
class Form:
    """What one api takes.

    Attributes:
        number: of the api in config.json.
        is_multipart: the request is a form too; else it is JSON.
        whole: the body has no members that are known: it is one text box of JSON.
    """

    number: int
    url: str
    method: str
    is_multipart: bool
    whole: bool
    fields: tuple[Field, ...]


def forms_of(platform: Platform, service: Service) -> list[Form]:
    """Return a form for each api of a service's first model; none for one of Inference 2.0."""
    model_id = service.config[0].model_id if service.config else None
    model = platform.state.get(Model, str(model_id)) if model_id else None
    if model is None:
        return []
    apis = ModelConfig.model_validate(model.config).apis
    return [_form(number, api) for number, api in enumerate(apis)]


def _form(number: int, api: Api) -> Form:
    data = api.request.data if api.request else None
    found = data.get("properties") if isinstance(data, dict) else None
    properties = found if isinstance(found, dict) else {}
    required = data.get("required", []) if isinstance(data, dict) else []
    has_body = api.method.lower() != "get"
    fields = tuple(_field(name, schema, required) for name, schema in properties.items())
    if has_body and not fields:
        fields = (Field("body", "object", True, "the whole body, as JSON", "{}"),)
    return Form(
        number=number,
        url=api.url,
        method=api.method.upper(),
        is_multipart=bool(api.request and api.request.content_type == _MULTIPART),
        whole=has_body and not properties,
        fields=fields,
    )


def _field(name: str, schema: Any, required: Any) -> Field:
    schema = schema if isinstance(schema, dict) else {}
    kind = str(schema.get("type") or "string")
    is_required = kind == "file" or (isinstance(required, list) and name in required)
    return Field(
        name, kind, is_required, str(schema.get("description") or ""), _BLANKS.get(kind, "")
    )


def body_of(form: Form, values: Mapping[str, str | Upload]) -> tuple[dict[str, Upload], Any]:
    """Return the uploads and the rest of a form, as its request wants them.

    Raises:
        ApiError: something is missing, or is no JSON where it should be.
    """
    uploads: dict[str, Upload] = {}
    members: dict[str, Any] = {}
    for field in form.fields:
        value = values.get(field.name, "")
        if isinstance(value, Upload):
            if not value.name:
                raise parameter(f"{field.name}: choose a file")
            uploads[field.name] = value
        elif field.is_file:
            raise parameter(f"{field.name}: choose a file")
        elif value or field.is_required:
            members[field.name] = value if field.kind == "string" else _json(field.name, value)
    return uploads, members.get("body") if form.whole else members


def _json(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise parameter(f"{name} is no JSON: {error}") from error
