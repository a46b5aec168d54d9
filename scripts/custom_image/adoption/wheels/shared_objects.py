"""The shared objects that wheels need and do not bring, and the Debian packages that have them.

A wheel may rely on little of the system (https://peps.python.org/pep-0600/), and some rely on more:
opencv-python on libGL.so.1, lightgbm on libgomp.so.1. Such an import fails in a slim image.
"""

from __future__ import annotations

import struct
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

# Debian 12's names; Debian 13 knows them too.
DEBIAN_PACKAGES: Final[Mapping[str, str]] = {
    "libGL.so.1": "libgl1",
    "libOpenGL.so.0": "libopengl0",
    "libEGL.so.1": "libegl1",
    "libGLU.so.1": "libglu1-mesa",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgobject-2.0.so.0": "libglib2.0-0",
    "libgio-2.0.so.0": "libglib2.0-0",
    "libSM.so.6": "libsm6",
    "libICE.so.6": "libice6",
    "libX11.so.6": "libx11-6",
    "libXext.so.6": "libxext6",
    "libXrender.so.1": "libxrender1",
    "libXi.so.6": "libxi6",
    "libXt.so.6": "libxt6",
    "libXcursor.so.1": "libxcursor1",
    "libXrandr.so.2": "libxrandr2",
    "libXfixes.so.3": "libxfixes3",
    "libxcb.so.1": "libxcb1",
    "libfontconfig.so.1": "libfontconfig1",
    "libfreetype.so.6": "libfreetype6",
    "libdbus-1.so.3": "libdbus-1-3",
    "libxkbcommon.so.0": "libxkbcommon0",
    "libgomp.so.1": "libgomp1",
    "libgfortran.so.5": "libgfortran5",
    "libquadmath.so.0": "libquadmath0",
    "libatomic.so.1": "libatomic1",
    "libnuma.so.1": "libnuma1",
    "libsndfile.so.1": "libsndfile1",
    "libportaudio.so.2": "libportaudio2",
    "libasound.so.2": "libasound2",
    "libsox.so.3": "libsox3",
    "libxml2.so.2": "libxml2",
    "libxslt.so.1": "libxslt1.1",
    "libpq.so.5": "libpq5",
    "libodbc.so.2": "libodbc2",
    "libmariadb.so.3": "libmariadb3",
    "libz.so.1": "zlib1g",
    "libjpeg.so.62": "libjpeg62-turbo",
    "libpng16.so.16": "libpng16-16",
    "libtiff.so.6": "libtiff6",
    "libusb-1.0.so.0": "libusb-1.0-0",
    "libstdc++.so.6": "libstdc++6",
    "libcrypt.so.1": "libcrypt1",
    "libexpat.so.1": "libexpat1",
    "libffi.so.8": "libffi8",
}
# Larger ones are an engine's own, which their wheels bring all that they need for.
_LARGEST_BYTES: Final = 150 * 10**6
_DYNAMIC, _LOAD = 2, 1
_NEEDED, _STRING_TABLE, _SONAME = 1, 5, 14


def missing_objects(wheels: Iterable[Path]) -> dict[str, str]:
    """Return the shared objects that wheels need and none of them brings, each with who needs it.

    Only those that a Debian package is known for: of others nobody can tell whether the part of the
    wheel that needs them is ever loaded.
    """
    brought: set[str] = set()
    needed: dict[str, str] = {}
    for path in sorted(wheels):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = info.filename.rpartition("/")[2]
                if ".so" not in name or info.is_dir():
                    continue
                brought.add(name)
                if info.file_size > _LARGEST_BYTES:
                    continue
                soname, needs = read_needs(archive.read(info))
                brought.add(soname)
                for need in needs:
                    needed.setdefault(need, f"{path.name.split('-')[0]} ({name})")
    return {
        name: by
        for name, by in sorted(needed.items())
        if name not in brought and name in DEBIAN_PACKAGES
    }


def read_needs(content: bytes) -> tuple[str, list[str]]:
    """Return the name of a shared object, and those that it needs; nothing of other files.

    Source: https://refspecs.linuxfoundation.org/elf/gabi4+/ch5.dynamic.html
    """
    try:
        return _read_needs(content)
    except (struct.error, ValueError, OverflowError):
        return "", []


def _read_needs(content: bytes) -> tuple[str, list[str]]:
    if content[:6] != b"\x7fELF\x02\x01":
        return "", []
    headers_at = struct.unpack_from("<Q", content, 32)[0]
    size, count = struct.unpack_from("<HH", content, 54)
    loads, dynamic = [], (0, 0)
    for at in range(headers_at, headers_at + size * count, size):
        (kind,) = struct.unpack_from("<I", content, at)
        offset, address, _, length = struct.unpack_from("<QQQQ", content, at + 8)
        if kind == _LOAD:
            loads.append((address, offset, length))
        elif kind == _DYNAMIC:
            dynamic = (offset, length)
    entries = [
        struct.unpack_from("<qQ", content, at)
        for at in range(dynamic[0], dynamic[0] + dynamic[1], 16)
    ]
    address = next((value for tag, value in entries if tag == _STRING_TABLE), 0)
    strings = next((o + address - a for a, o, n in loads if a <= address < a + n), address)

    def text(value: int) -> str:
        start = strings + value
        return content[start : content.index(b"\0", start)].decode()

    soname = next((text(value) for tag, value in entries if tag == _SONAME), "")
    return soname, [text(value) for tag, value in entries if tag == _NEEDED]
