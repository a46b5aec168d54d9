"""The folder that stands in for OBS: addresses lead into their bucket, and nowhere else."""

from __future__ import annotations

import pytest

from custom_image.files import write_whole
from local_modelarts.errors import ApiError
from local_modelarts.storage.obs import Obs, objects

SIGNED = "https://pictures.obs.region.example.com:443/in/1.jpg?AccessKeyId=A&Expires=1&Signature=b"


@pytest.fixture
def obs(tmp_path) -> Obs:
    obs = Obs(tmp_path / "obs")
    (obs.root / "pictures/in").mkdir(parents=True)
    (obs.root / "pictures/in/1.jpg").write_bytes(b"one")
    return obs


@pytest.mark.parametrize(
    "address",
    ["obs://pictures/in/1.jpg", "s3://pictures/in/1.jpg", "obs://pictures//in/1.jpg", SIGNED],
)
def test_each_way_to_write_an_address_leads_to_the_same_file(obs, address) -> None:
    assert obs.file(address).read_bytes() == b"one"
    assert obs.address(obs.path("obs://pictures/in/1.jpg")) == "obs://pictures/in/1.jpg"


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("obs://pictures/in/2.jpg", "ModelArts.3551"),
        ("obs://pictures/in", "ModelArts.3551"),
        ("obs://others/in/1.jpg", "ModelArts.3551"),
        (f"obs://pictures/{'n' * 300}", "ModelArts.3551"),
        ("obs://pictures/../../secret", "ModelArts.3567"),
        ("https://pictures.obs.example.com/%2e%2e/%2e%2e/secret", "ModelArts.3567"),
        ("obs://pictures/link", "ModelArts.3567"),
        ("obs://../secret", "ModelArts.0104"),
        ("obs://Pictures/in/1.jpg", "ModelArts.0104"),
        ("obs://pictures/a\0b", "ModelArts.0104"),
        ("https://pictures.example.com/in/1.jpg", "ModelArts.0104"),
        ("/etc/passwd", "ModelArts.0104"),
        ("file:///etc/passwd", "ModelArts.0104"),
        ("", "ModelArts.0104"),
    ],
)
def test_what_is_not_there_or_not_in_the_bucket_is_refused(obs, tmp_path, address, code) -> None:
    (tmp_path / "secret").write_text("no")
    (obs.root / "pictures/link").symlink_to(tmp_path / "secret")

    with pytest.raises(ApiError) as caught:
        obs.file(address)

    assert caught.value.code == code


def test_a_folder_must_be_one(obs) -> None:
    assert obs.folder("obs://pictures/in/") == obs.root / "pictures/in"
    with pytest.raises(ApiError, match=r"3551.*obs://pictures/in/1.jpg"):
        obs.folder("obs://pictures/in/1.jpg")


def test_files_are_listed_by_name_without_folders_and_without_unfinished_ones(obs) -> None:
    folder = obs.root / "pictures/in"
    write_whole(folder / "0.jpg", b"zero")
    (folder / "deeper").mkdir()
    (folder / ".unfinished-1").write_bytes(b"half")

    assert [path.name for path in objects(folder)] == ["0.jpg", "1.jpg"]
