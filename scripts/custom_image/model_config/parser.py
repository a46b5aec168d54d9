"""From a config.json to a :class:`ModelConfig`, or to an error that says what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from custom_image.errors import PackageError
from custom_image.model_config.document import (
    LARGEST_BYTES,
    read_json_object,
    refuse_size,
    shown,
)
from custom_image.model_config.models import ModelConfig
from custom_image.model_config.remarks import find_remarks
from custom_image.model_config.suggestions import did_you_mean
from custom_image.specification import CONFIG_FILE

_EXPECTED: Final = {
    "string_type": "a string",
    "float_type": "a number",
    "list_type": "an array",
    "dict_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
}


def read_model_config(path: str | Path) -> ModelConfig:
    """Read a config.json.

    Raises:
        PackageError: the file cannot be read, or :func:`parse_model_config` refuses it.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise PackageError(
            f"{path}: cannot be read ({error.strerror}).\n"
            "A model package has exactly one config.json, beside customize_service.py."
        ) from error
    if len(content) > LARGEST_BYTES:
        refuse_size(str(path))
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise PackageError(
            f"{path}: byte {error.start} is not UTF-8.\nSave the file in the encoding UTF-8."
        ) from error
    return parse_model_config(text, path)


def parse_model_config(text: str, where: str | Path = "config.json") -> ModelConfig:
    """Parse the text of a config.json; ``where`` names it in messages.

    Raises:
        PackageError: the text is not JSON, or breaks a rule that the platform enforces.

    Source: https://support.huaweicloud.com/intl/en-us/usermanual-standard-modelarts/inference-modelarts-0056.html
    """
    document = read_json_object(text, str(where))
    try:
        config = ModelConfig.model_validate(document, by_alias=True, by_name=False)
    except ValidationError as error:
        raise PackageError(_explain(error, str(where))) from error
    config.remember(find_remarks(document))
    return config


def _explain(error: ValidationError, where: str) -> str:
    """Say the first fault in full and name the places of the others."""
    faults = error.errors(include_url=False)
    lines = [
        f"{where}: {line}" if not index else line for index, line in enumerate(_fault(faults[0]))
    ]
    if others := [_place(fault) for fault in faults[1:]]:
        more = f" and {len(others) - 4} more" if len(others) > 4 else ""
        lines.append(f"Also at fault: {', '.join(others[:4])}{more}.")
    return "\n".join(lines)


def _fault(fault: Any) -> tuple[str, str]:
    place, see = _place(fault), f"See {CONFIG_FILE}"
    if fault["type"] == "missing":
        meant = did_you_mean(str(fault["loc"][-1]), fault["input"])
        remediation = (
            f'Did you mean it by "{meant}"? Rename that key.' if meant else f"Add it. {see}"
        )
        return f"{place} is missing.", remediation
    context = fault.get("ctx", {})
    expected = context.get("expected") or _EXPECTED.get(fault["type"]) or fault["msg"]
    found = context.get("found") or shown(fault["input"])
    return f"{place}: expected {expected}, found {found}.", context.get("remediation") or see


def _place(fault: Any) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in fault["loc"])
    member = fault.get("ctx", {}).get("member")
    return f"{text}.{member}".strip(".") if member else text.strip(".")
