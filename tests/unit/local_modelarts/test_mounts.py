"""Which folders a v2 service may mount, and what fetching them meets."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from custom_image.errors import CustomImageError
from local_modelarts.errors import ApiError
from local_modelarts.runtime.mounts import UNFINISHED, fetch, mounts_of
from local_modelarts.settings import Settings
from local_modelarts.storage.paths import Folder
from local_modelarts.storage.specs import InstanceSpec


@pytest.fixture
def platform(tmp_path: Path) -> Any:
    folder = Folder(tmp_path / "platform")
    for place in (folder.obs / "bucket/weights", folder.sfs / "turbo/weights", folder.warm_up):
        place.mkdir(parents=True)
    (folder.obs / "bucket/out").symlink_to("/etc")
    (folder.sfs / "turbo/out").symlink_to("/etc")
    return SimpleNamespace(folder=folder, settings=Settings(node_disk_bytes=100))


def file(
    address: str = "obs://bucket/weights/", path: str = "/model/", **more: Any
) -> dict[str, Any]:
    return {"source": "OBS", "address": address, "mount_path": path, **more}


def sfs(address: str, path: str = "/model/") -> dict[str, Any]:
    return file(address, path, source="EFS")


def test_folders_are_mounted_read_only_or_not(platform: Any) -> None:
    found = mounts_of(platform, [file(read_only=True), sfs("turbo:/weights", "/more/")])

    assert [(m.target, m.read_only) for m in found] == [("/model", True), ("/more", False)]
    assert [Path(m.source).name for m in found] == ["weights", "weights"]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ([file(path="/home/ma-user/")], "never at /home/ma-user or above"),
        ([file(path="/home/")], "never at /home/ma-user or above"),
        ([file(path="/")], "expected a plain path"),
        ([file(path="/a/../b/")], "expected a plain path"),
        ([file(path="/var/run/")], "never at"),
        ([file(), file(path="/model/more/")], "must not nest"),
        ([sfs("turbo"), sfs("turbo:/weights", "/more/")], "mounted twice"),
        ([file("obs://bucket/nothing/")], "does not exist"),
        ([file("obs://bucket/../../etc/")], "Access Denied"),
        ([file("obs://bucket/out/")], "Access Denied"),
        ([sfs("turbo:/out")], "Access Denied"),
        ([sfs("turbo:/../../..")], "Access Denied"),
        ([sfs("nothing")], "does not exist"),
        ([file(source="LOCAL")], "expected one of OBS, OBSFS, EFS"),
        ([file()] * 11, "at most 10"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_platform_refuses_is_refused(files: Any, words: str, platform: Any) -> None:
    with pytest.raises(ApiError, match="ModelArts") as refused:
        mounts_of(platform, files)

    assert words in refused.value.message


def fetched(platform: Any, **more: Any) -> str:
    spec = InstanceSpec("image", 8080, mounts=mounts_of(platform, [file(**more)]))
    try:
        fetch(platform, spec)
    except CustomImageError as error:
        return str(error)
    return ""


def test_the_disk_of_the_node_may_be_too_small(platform: Any) -> None:
    (platform.folder.obs / "bucket/weights/model").write_bytes(bytes(101))

    assert fetched(platform) == ""
    assert fetched(platform, host_cache=True).startswith("ModelArts.8501")


def test_a_warm_up_is_there_and_has_succeeded(platform: Any) -> None:
    wanted = {"os_warm_up": True, "source_name": "task"}

    assert fetched(platform, **wanted).startswith("ModelArts.8504")
    (platform.folder.warm_up / "task").mkdir()
    (platform.folder.warm_up / "task" / UNFINISHED).touch()
    assert fetched(platform, **wanted).startswith("ModelArts.8505")
    (platform.folder.warm_up / "task" / UNFINISHED).unlink()
    assert fetched(platform, **wanted) == ""
