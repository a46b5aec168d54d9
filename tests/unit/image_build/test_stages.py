"""What a Dockerfile is made from, read without a builder."""

from __future__ import annotations

import pytest

from custom_image.build_context.stages import external_images, final_base


@pytest.mark.parametrize(
    ("dockerfile", "external", "final"),
    [
        ("FROM a:1\nRUN true\n", ["a:1"], "a:1"),
        ("FROM scratch\n", [], "scratch"),
        ("# FROM z\nfrom a AS Build\nFROM build\n", ["a"], "build"),
        ("FROM a AS x\nFROM b\nCOPY --from=x /1 /\nCOPY --from=c:2 /1 /\n", ["a", "b", "c:2"], "b"),
        ("FROM a\nFROM b\nCOPY --from=0 /1 /\n", ["a", "b"], "b"),
        ("ARG B=a:1\nFROM ${B}\n", ["a:1"], "a:1"),
        ('ARG TAG="3"\nFROM org/a:$TAG\n', ["org/a:3"], "org/a:3"),
        ("ARG BASE_IMAGE=z\nFROM --platform=linux/amd64 ${BASE_IMAGE}\n", ["mine:1"], "mine:1"),
        ("ARG V\nFROM a:${V:-2}\n", ["a:2"], "a:2"),
        ("RUN true\n", [], ""),
    ],
)
def test_images_are_those_that_are_no_stage(
    dockerfile: str, external: list[str], final: str
) -> None:
    arguments = {"BASE_IMAGE": "mine:1"}

    assert external_images(dockerfile, arguments) == external
    assert final_base(dockerfile, arguments) == final
