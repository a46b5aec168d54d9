"""Endpoints of the APIs, the keys that sign the calls, and what a refusal becomes."""

from __future__ import annotations

import configparser
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from custom_image.errors import CloudRefused, Unavailable, UsageError

ENDPOINT_VARIABLE: Final = "MODELARTS_ENDPOINT"
REGION_VARIABLE: Final = "HW_REGION_NAME"
TOKEN_VARIABLE: Final = "MODELARTS_TOKEN"
API_KEY_VARIABLE: Final = "MODELARTS_API_KEY"
KEYS_FOLDER: Final = Path("~/.huaweicloud")
"""Where the SDK looks for keys; an instance of the local ModelArts finds its endpoint here too."""


def names_endpoint() -> bool:
    """Tell whether the environment, or the local platform in an instance, names an endpoint."""
    named = (os.environ.get(name, "").strip() for name in (ENDPOINT_VARIABLE, REGION_VARIABLE))
    return any(named) or (KEYS_FOLDER.expanduser() / "endpoint").is_file()


def find_endpoint() -> str:
    """Return the address of ModelArts that the environment, or the local platform, names.

    Raises:
        UsageError: none does, or the SDK does not know the region.
    """
    if endpoint := os.environ.get(ENDPOINT_VARIABLE, "").strip():
        return endpoint.rstrip("/")
    if region := os.environ.get(REGION_VARIABLE, "").strip():
        from huaweicloudsdkmodelarts.v1.region.modelarts_region import ModelArtsRegion

        try:
            return str(ModelArtsRegion.value_of(region).endpoints[0])
        except KeyError as error:
            raise UsageError(
                f"{REGION_VARIABLE} is {region!r}, which the SDK knows no endpoint of ModelArts in."
                f"\nSet {ENDPOINT_VARIABLE} to that address instead."
            ) from error
    file = KEYS_FOLDER.expanduser() / "endpoint"
    if file.is_file():
        return file.read_text(encoding="utf-8").strip().rstrip("/")
    raise UsageError(
        "Where the API of ModelArts is, is not known.\n"
        f"Set {REGION_VARIABLE}, such as cn-north-4, or {ENDPOINT_VARIABLE} to an address."
    )


def read_keys(path: str) -> Any:
    """Return the keys in a file of the SDK's own form.

    Raises:
        UsageError: it is no such file; nothing of it is quoted.
    """
    from huaweicloudsdkcore.auth.credentials import BasicCredentials

    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(Path(path).read_text(encoding="utf-8"))
        keys = parser["basic"]
        return BasicCredentials(keys["ak"], keys["sk"], keys.get("project_id"))
    except (OSError, KeyError, configparser.Error) as error:
        kind = type(error).__name__  # not its text: that could quote a line with a key
        raise UsageError(f"{path}: expected keys in the form of the SDK, but {kind}.") from None


def find_keys() -> Any:
    """Return the keys that the SDK finds: in the environment, else in its own file.

    Raises:
        UsageError: there are none.
    """
    from huaweicloudsdkcore.auth.provider import EnvCredentialProvider, ProfileCredentialProvider
    from huaweicloudsdkcore.exceptions.exceptions import ApiValueError

    # Not the SDK's whole chain: its last link asks a metadata server, for a minute where none is.
    for provider in (EnvCredentialProvider, ProfileCredentialProvider):
        try:
            return provider.get_basic().get_credentials()
        except ApiValueError:
            continue
    raise UsageError(
        "There are no keys to call ModelArts with.\n"
        "Set HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK (and HUAWEICLOUD_SDK_PROJECT_ID), or write "
        "~/.huaweicloud/credentials."
    )


def placeholder_keys() -> Any:
    """Return keys that stand for the real ones where nothing is sent."""
    from huaweicloudsdkcore.auth.credentials import BasicCredentials

    return BasicCredentials("AK", "SK", "PROJECT_ID")


def status_of(error: Exception) -> int:
    """Return the status of HTTP that a refusal came with; 0 where it was none of the API's."""
    return int(getattr(error.__cause__, "status_code", 0) or 0)


def find_token() -> str:
    """Return the IAM token that the environment holds; empty where it holds none."""
    return os.environ.get(TOKEN_VARIABLE, "").strip()


def find_api_key() -> str:
    """Return the API key of v2 that the environment holds; empty where it holds none."""
    return os.environ.get(API_KEY_VARIABLE, "").strip()


@contextmanager
def refusals(what: str) -> Iterator[None]:
    """Turn the SDK's errors into ours; what the platform says is quoted whole."""
    from huaweicloudsdkcore.exceptions.exceptions import SdkException, ServiceResponseException

    try:
        yield
    except ServiceResponseException as error:
        refusal = f"ModelArts refuses to {what}: {error.status_code} {error.error_code}\n"
        raise CloudRefused(f"{refusal}The platform says: {error.error_msg}") from error
    except SdkException as error:
        raise Unavailable(
            f"ModelArts gave no answer when asked to {what}.\n{error.error_msg}"
        ) from error
