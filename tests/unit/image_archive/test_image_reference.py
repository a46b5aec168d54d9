from __future__ import annotations

import pytest

from custom_image.errors import UsageError
from custom_image.image_reference import ImageReference

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("mnist", ("docker.io", "library/mnist", "latest", "")),
        ("mnist:1.0.0", ("docker.io", "library/mnist", "1.0.0", "")),
        ("org/mnist:1", ("docker.io", "org/mnist", "1", "")),
        ("docker.io/library/python:3.11", ("docker.io", "library/python", "3.11", "")),
        ("localhost/mnist", ("localhost", "mnist", "latest", "")),
        ("127.0.0.1:5000/a/b/c:x_1", ("127.0.0.1:5000", "a/b/c", "x_1", "")),
        (
            "swr.cn-north-4.myhuaweicloud.com/atelier/pytorch_1_8:pytorch_1.8.0-cuda_10.2",
            (
                "swr.cn-north-4.myhuaweicloud.com",
                "atelier/pytorch_1_8",
                "pytorch_1.8.0-cuda_10.2",
                "",
            ),
        ),
        (f"mnist@{DIGEST}", ("docker.io", "library/mnist", "", DIGEST)),
        (f"mnist:1@{DIGEST}", ("docker.io", "library/mnist", "1", DIGEST)),
    ],
)
def test_a_reference_is_read_as_docker_reads_it(text: str, expected: tuple[str, ...]) -> None:
    reference = ImageReference.parse(text)

    assert (reference.registry, reference.repository, reference.tag, reference.digest) == expected


@pytest.mark.parametrize("text", ["mnist", "org/mnist:1", "r.example:5000/a/b:c", f"m:1@{DIGEST}"])
def test_a_printed_reference_reads_back_as_itself(text: str) -> None:
    reference = ImageReference.parse(text)

    assert ImageReference.parse(str(reference)) == reference


def test_name_and_namespace_are_the_parts_that_a_console_asks_for() -> None:
    reference = ImageReference.parse("swr.x.example.com/my-org/group/mnist:1")

    assert (reference.namespace, reference.name) == ("my-org/group", "mnist")


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "it is empty"),
        ("https://swr.example.com/org/mnist", "https:// does not belong to it"),
        ("my image:1", "it holds a blank"),
        ("Org/MNIST:Latest", "only the tag may have capitals; write org/mnist"),
        ("mnist:", "the tag '' must be"),
        ("mnist:-1", "the tag '-1' must be"),
        ("mnist:" + "x" * 129, "must be 1 to 128"),
        ("-mnist", "must start and end with a letter or digit"),
        ("org//mnist", "must start and end"),
        ("a" * 300, "at most 255 are allowed"),
    ],
)
def test_what_is_no_reference_says_which_part_is_wrong(text: str, fault: str) -> None:
    with pytest.raises(UsageError) as caught:
        ImageReference.parse(text)

    assert fault in str(caught.value)
    assert "my-org/mnist:1.0.0" in str(caught.value)
