"""Programs and shared objects: what is read of them, also of large and of broken ones."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from custom_image.scanners.elf import HEAD_BYTES, _Parts, parse_elf

PROGRAM = next(
    path
    for path in (Path("/bin/true").resolve(), Path(sys.executable).resolve())
    if path.read_bytes()[:4] == b"\x7fELF"
)


def parse(content: bytes):
    return parse_elf(_Parts(content[:HEAD_BYTES], content[HEAD_BYTES:], len(content)))


def test_a_program_of_this_machine_names_it_and_what_it_needs():
    machine, needed = parse(PROGRAM.read_bytes())

    assert machine in ("amd64", "arm64")
    assert "libc.so.6" in needed


def test_a_program_of_another_machine_is_told_from_it():
    content = bytearray(PROGRAM.read_bytes())
    content[18:20] = (243).to_bytes(2, "little")

    assert parse(bytes(content))[0] == "riscv64"


def test_what_was_not_kept_is_not_made_up():
    content = PROGRAM.read_bytes()
    parts = _Parts(content[:64], content[-64:], len(content))

    assert parse_elf(parts)[1] == ()


@pytest.mark.parametrize("size", range(64, 1024, 120))
def test_a_program_that_is_cut_off_needs_nothing(size):
    assert parse(PROGRAM.read_bytes()[:size])[1] == ()
