"""Checks of a request for a batch service: input, mapping, output.

Source: https://support.huaweicloud.com/intl/en-us/api-modelarts/CreateService.html, and
https://docs.otc.t-systems.com/modelarts/umn/inference_deployment/deploying_a_model_as_batch_services/deploying_as_a_batch_service.html
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final

from custom_image.cloud.validation.checks import among, refuse
from custom_image.model_config import Api
from custom_image.platform_api import (
    MAPPING_TYPES,
    file_member,
    member_type,
    members_of,
    scalars_of,
)
from custom_image.specification import BATCH_CSV, BATCH_PICTURE

_MB: Final = 10**6
_STORES: Final = ("obs://", "s3://", "https://")


def batch_mapping(mapping_type: str, api: Api, rule: Mapping[str, Any] | None) -> None:
    """Refuse how the files of a batch become requests.

    Args:
        mapping_type: ``file``, a request for each file, or ``csv``, one for each line.
        api: the one that is asked.
        rule: of ``csv``: the schema of a request, an ``index`` at each scalar.
    """
    among("mapping_type", mapping_type, MAPPING_TYPES, "A picture is a file, a table is a csv.")
    if mapping_type == "file":
        schema = api.request.data if api.request else None
        if not file_member(schema):
            found = ", ".join(map(member_type, members_of(schema).values())) or "no members"
            remediation = "Declare one member of this type in config.json, or map from csv."
            refuse(f"request of {api.url}", "exactly one member, of type file", found, remediation)
        return
    if not rule:
        remediation = "Give the schema of a request, with the number of its column at each scalar."
        refuse("mapping_rule", "a schema, as mapping_type is csv", "none", remediation)
    leaves = list(scalars_of(rule, "mapping_rule"))
    if not leaves:
        refuse("mapping_rule", "at least one scalar", "none", "Describe the whole request.")
    for where, leaf in leaves:
        if type(leaf.get("index")) is not int or leaf["index"] < -1:
            remediation = "Columns count from 0; -1 leaves the member out."
            refuse(f"{where}.index", "the number of a column", leaf.get("index"), remediation)


def batch_input(name: str, size_bytes: int, mapping_type: str) -> None:
    """Refuse a file of the input: its kind, and its size."""
    if mapping_type == "csv":
        if PurePosixPath(name).suffix != ".csv":
            refuse(name, "a name that ends in .csv", PurePosixPath(name).suffix, "Rename it.")
        if size_bytes > BATCH_CSV.value * _MB:
            refuse(name, f"at most {BATCH_CSV}", _mb(size_bytes), "Divide it into several.")
    elif size_bytes >= BATCH_PICTURE.value * _MB:
        refuse(name, f"less than {BATCH_PICTURE}", _mb(size_bytes), "Make it smaller.")


def batch_service(source: str, destination: str) -> None:
    """Refuse where a batch reads and writes: an output that is its own input's folder."""
    for where, address in (("src_path", source), ("dest_path", destination)):
        if not address.startswith(_STORES):
            remediation = "Name a folder in OBS; of the local platform, one of this machine."
            refuse(
                where, f"an address that starts with {' or '.join(_STORES)}", address, remediation
            )
    below, above = f"{destination.rstrip('/')}/", f"{source.rstrip('/')}/"
    if below.startswith(above) or above.startswith(below):
        remediation = "Choose an empty folder for the results, beside the input."
        refuse("dest_path", "a folder apart from the input", destination, remediation)


def _mb(size_bytes: int) -> str:
    return f"{size_bytes / _MB:.2f} MB"
