"""Files that do not run where they are put: for another machine, without what they need, hidden."""

from __future__ import annotations

import re
import sys
from typing import Any, Final

from custom_image.image_archive import Contents, Entry
from custom_image.rules import (
    Context,
    Finding,
    Needs,
    Severity,
    failed,
    not_checked,
    passed,
    rule,
)
from custom_image.scanners.elf import ElfReader, Program
from custom_image.specification import MODEL_DIR, SPECIFICATIONS, Source

ARCHITECTURE: Final = Source(
    "Troubleshooting: exec format error",
    "https://support.huaweicloud.com/trouble-modelarts/modelarts_13_0204.html",
)
LIBRARIES: Final = Source(
    "ld.so(8): how shared objects are found", "https://man7.org/linux/man-pages/man8/ld.so.8.html"
)
DRIVERS: Final = Source(
    "AscendCloud: mounts of a container",
    "https://support.huaweicloud.com/productdesc-bms/modelarts_llm_infer_5905023.html",
)
SITE: Final = Source(
    "Python: site, path configuration files", "https://docs.python.org/3/library/site.html"
)
TWO_RUNTIMES: Final = Source(
    "AllenNLP: an image with two versions of CUDA",
    "https://github.com/allenai/allennlp/issues/372",
)
# The folder of each toolkit, by the library that every program of it loads.
TOOLKITS: Final = {
    "CUDA": re.compile(
        rb"^(?!.*/(?:stubs|compat|pkgs)/)(.*?)/(?:targets/[^/]+/)?lib(?:64)?/"
        rb"(?:[^/]+-linux-gnu/)?libcudart[-.][^/]*so[^/]*$"
    ),
    "CANN": re.compile(
        rb"^(.*/Ascend/(?:ascend-toolkit|nnrt|nnae|cann)[/-][0-9][^/]*)/(?!.*(?:stub|devlib)).*"
        rb"/libascendcl\.so$"
    ),
}
NOT_AMD64_ALONE: Final = {"amd64": ("amd64", "386"), "arm64": ("arm64", "arm")}
PROGRAM_FOLDERS: Final = re.compile(rb"^(?:.*/)?s?bin/[^/]+$")
EXTENSION: Final = re.compile(rb"\.(?:cpython-[^/]*|abi3)\.so$")
PACKAGES: Final = re.compile(rb"^(.*/(?:site|dist)-packages)/([^/]+)/")
# What the node mounts into each container: drivers of GPUs and NPUs.
OF_THE_DRIVER: Final = re.compile(
    r"lib(cuda|nvidia-|nvcuvid|nvoptix|ascend_hal|drvdsmi|dcmi|mmpa|c_sec|slog|error_manager)"
)
HIDDEN: Final = re.compile(
    rb"^usr/local/(?:nvidia/|Ascend/driver/|Ascend/add-ons/|sbin/npu-smi$|bin/npu-smi$)"
    rb"|^(?!.*/(?:stubs|compat)/).*/libcuda\.so(?:\.[0-9.]+)?$"
)
# Modules that a package imports only where their library is there.
OPTIONAL: Final = re.compile(rb"/lib-dynload/|/numba/np/ufunc/|/tests?/")
KNOWN_PTH: Final = re.compile(
    rb"^(?:distutils-precedence|_virtualenv|__editable__.*|.*-nspkg|a?1?_?coverage.*|zope.*)\.pth$"
)
MODEL_FOLDERS: Final = (str(MODEL_DIR).lstrip("/"), "home/mind/model")
MOST_NAMED: Final = 10


class StartupReader:
    """Reads the `.pth` files, whose lines of code every Python in the image runs at its start."""

    def __init__(self) -> None:
        self.found: list[tuple[bytes, int, str]] = []

    def open(self, entry: Entry, layer: int) -> _Pth | None:
        """Take those of the folders of packages; not the weights that are called so."""
        folder, _, name = entry.path.rpartition(b"/")
        is_one = name.endswith(b".pth") and folder.endswith((b"site-packages", b"dist-packages"))
        if not is_one or entry.size > 100_000 or KNOWN_PTH.match(name):
            return None
        return _Pth(self, entry, layer)


class _Pth:
    def __init__(self, reader: StartupReader, entry: Entry, layer: int) -> None:
        self._reader, self._entry, self._layer = reader, entry, layer
        self._content = b""

    def feed(self, chunk: bytes) -> bool:
        self._content += chunk
        return True

    def close(self) -> None:
        for line in self._content.decode(errors="replace").splitlines():
            if line.startswith(("import ", "import\t")):  # as site.py itself decides
                self._reader.found.append((self._entry.path, self._layer, line[:160]))
                return


@rule(
    id="files.architecture",
    title="Programs and libraries are made for the machine that the image names",
    why="Otherwise the start ends with `exec format error`, or an import with `wrong ELF class`.",
    severity=Severity.ERROR,
    needs=Needs.IMAGE | Needs.CONTENTS,
    expected="the architecture of the image's configuration",
    source=ARCHITECTURE,
    remediation="Build every stage for one platform: docker build --platform linux/amd64, and "
    "--platform on no FROM line alone.",
    good="FROM --platform=linux/amd64 in each stage",
    bad="COPY --from a stage that was built on a Mac for arm64",
)
def architecture(context: Context) -> Finding:
    """Compare programs in folders called bin, and packages of which no file fits."""
    wanted = context.image.architecture
    fitting = NOT_AMD64_ALONE.get(wanted, (wanted,))
    found = _programs(context.contents)
    if not found:
        return not_checked("no program was found")
    wrong = [p for p in found if p.machine not in fitting and PROGRAM_FOLDERS.match(p.path)]
    packages: dict[bytes, list[Program]] = {}
    for program in found:
        if package := PACKAGES.match(program.path):
            packages.setdefault(package[0], []).append(program)
    for programs in packages.values():
        if all(program.machine not in fitting for program in programs):
            wrong += programs[:1]
    lines = [f"/{p.path.decode(errors='replace')} is for {p.machine}" for p in wrong]
    if lines:
        return failed(f"{lines[0]}, the image for {wanted}", "\n".join(lines[:MOST_NAMED]))
    return passed(f"{len(found):,} programs and libraries for {wanted}")


@rule(
    id="files.libraries",
    title="Each program finds the shared objects that it needs",
    why="The import fails on the platform as here: `libGL.so.1: cannot open shared object file`.",
    severity=Severity.WARNING,
    needs=Needs.IMAGE | Needs.CONTENTS,
    expected="in the image, or mounted with the driver",
    source=LIBRARIES,
    remediation="Install the package that brings it (libGL.so.1: libgl1), or a variant that needs "
    "none (opencv-python-headless).",
    good="pip install opencv-python-headless",
    bad="pip install opencv-python in a slim image",
)
def libraries(context: Context) -> Finding:
    """Look for each name among all names in the image; where the loader looks is not imitated."""
    contents = context.contents
    names = {path.rpartition(b"/")[2].decode(errors="replace") for path in contents.overlay.paths()}
    judged, missing = 0, []
    for program in _programs(contents):
        is_loaded = EXTENSION.search(program.path) or PROGRAM_FOLDERS.match(program.path)
        if not is_loaded or OPTIONAL.search(program.path):
            continue
        judged += 1
        missing += [
            f"{name}, needed by /{program.path.decode(errors='replace')}"
            for name in program.needed
            if name.rpartition("/")[2] not in names and not OF_THE_DRIVER.match(name)
        ]
    if missing:
        return failed(f"no {missing[0]}", "\n".join(missing[:MOST_NAMED]))
    return passed(f"{judged:,} programs and modules") if judged else not_checked("none was found")


@rule(
    id="files.driver",
    title="The image brings no driver, which the node mounts over it",
    why="What lies there is hidden, or hides the node's own: libraries and kernel then differ.",
    severity=Severity.WARNING,
    needs=Needs.CONTENTS,
    expected="nothing below /usr/local/nvidia and /usr/local/Ascend/driver, no libcuda.so",
    source=DRIVERS,
    remediation="Remove the driver from the image; CUDA's runtime or CANN's toolkit is enough.",
    good="FROM nvidia/cuda:12.4.1-runtime-ubuntu22.04",
    bad="RUN ./Ascend-hdk-910b-npu-driver.run --full",
)
def driver(context: Context) -> Finding:
    """Match the paths of all files."""
    contents = context.contents
    found = [f"/{p.decode(errors='replace')}" for p in contents.overlay.paths() if HIDDEN.match(p)]
    if found:
        return failed(f"{len(found)} files: {found[0]}", "\n".join(found[:MOST_NAMED]))
    return passed("none")


@rule(
    id="files.toolkits",
    title="CUDA and CANN are in the image once",
    why="Which one is loaded is decided by the path; the other is gigabytes of every pull.",
    severity=Severity.WARNING,
    needs=Needs.CONTENTS,
    expected="one runtime of CUDA, one of CANN",
    source=TWO_RUNTIMES,
    remediation="Take a base without CUDA where the wheels bring their own (torch, onnxruntime "
    "with nvidia-*), or one version of the toolkit.",
    good="FROM python:3.11-slim and torch from its CUDA index",
    bad="FROM nvidia/cuda:12.4.1-runtime and wheels that bring CUDA 12.1",
)
def toolkits(context: Context) -> Finding:
    """Count the places of the runtime library of each."""
    found: dict[str, set[str]] = {"CUDA": set(), "CANN": set()}
    for path in context.contents.overlay.paths(links=False):
        for name, pattern in TOOLKITS.items():
            if match := pattern.match(path):
                found[name].add(f"/{match[1].decode(errors='replace')}")
    twice = [f"{n} in {' and '.join(sorted(f))}" for n, f in found.items() if len(f) > 1]
    if twice:
        return failed(twice[0], "\n".join(twice))
    once = [f"{name} in {folders.pop()}" for name, folders in found.items() if folders]
    return passed(", ".join(once) or "neither")


@rule(
    id="files.startup",
    title="No `.pth` file runs code in every Python of the image",
    why="It runs before the service, unseen; that is how stolen packages stay.",
    severity=Severity.WARNING,
    needs=Needs.CONTENTS,
    expected="no line of code, but for those of known packages",
    source=SITE,
    remediation="Find out which package brought it; remove both if nobody knows.",
    good="a line with a folder",
    bad='import os; exec(os.environ["X"])',
)
def startup(context: Context) -> Finding:
    """Judge what was read of those files."""
    contents = context.contents
    reader = contents.reader(StartupReader)
    found = [
        f"/{path.decode(errors='replace')}: {line}"
        for path, layer, line in reader.found
        if contents.overlay.holds(path, layer)
    ]
    return failed(found[0], "\n".join(found[:MOST_NAMED])) if found else passed("none")


@rule(
    id="files.shadows",
    title="No module of the model takes the place of one of Python's",
    why="The model's folder comes first on the path: `import json` then imports the model's own.",
    severity=Severity.WARNING,
    needs=Needs.CONTENTS,
    expected="no name of the standard library in the model's folder",
    source=SPECIFICATIONS,
    remediation="Rename the module, or put it into a package of its own.",
    good="model/1/my_types.py",
    bad="model/1/types.py",
)
def shadows(context: Context) -> Finding:
    """Compare names in the folders of models with the standard library's."""
    root = context.contents.overlay.root
    found = []
    for folder in MODEL_FOLDERS:
        for name, node in _folder(root, folder).items():
            stem, _, suffix = name.decode(errors="replace").partition(".")
            is_module = suffix == "py" or (isinstance(node, dict) and b"__init__.py" in node)
            if is_module and stem in sys.stdlib_module_names and not stem.startswith("_"):
                found.append(f"/{folder}/{name.decode(errors='replace')} hides the module {stem}")
    return failed(found[0], "\n".join(found)) if found else passed("none")


def _programs(contents: Contents) -> list[Program]:
    found = contents.reader(ElfReader).found
    return [program for program in found if contents.overlay.holds(program.path, program.layer)]


def _folder(root: dict[bytes, Any], path: str) -> dict[bytes, Any]:
    node: Any = root
    for name in path.encode().split(b"/"):
        node = node.get(name) if isinstance(node, dict) else None
    return node if isinstance(node, dict) else {}
