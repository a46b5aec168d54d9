"""Dependencies of a package as requirements of pip: config.json's blocks, requirements.txt."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from custom_image.adoption.changes import ChangeLog, Kind
from custom_image.adoption.config_json.encoding import decode_text
from custom_image.errors import PackageError

REQUIREMENTS_NAME: Final = "requirements.txt"
_OPERATORS: Final = {"EXACT": "==", "ATLEAST": ">=", "ATMOST": "<="}
# Written by `pip freeze` on some systems; on no index.
_NO_PACKAGES: Final = ("pkg-resources", "pkg_resources")
# Builds for a graphics card or an Ascend chip, which stand on no index or need what only the node
# has; the image has the build for a CPU. Another one is a base image and a lock of one's own.
_CPU_NAMES: Final = {
    "tensorflow-gpu": "tensorflow",
    "mindspore-gpu": "mindspore",
    "mindspore-ascend": "mindspore",
    "onnxruntime-gpu": "onnxruntime",
    "paddlepaddle-gpu": "paddlepaddle",
    "faiss-gpu": "faiss-cpu",
}
_CONDA: Final = re.compile(r"([A-Za-z0-9._-]+)=([A-Za-z0-9.]+)(?:=[A-Za-z0-9._]+)?")


@dataclass(frozen=True)
class Dependency:
    """One requirement of a package.

    Attributes:
        text: as pip reads it, ``numpy==1.19.5``, or the path of a wheel in the package.
        origin: where the package says so, such as ``config.json: dependencies``.
        name: of the distribution, as the index spells it.
    """

    text: str
    origin: str
    name: str

    @property
    def is_wheel(self) -> bool:
        """Whether it is a wheel that lies in the package."""
        return self.text.startswith("./")

    @property
    def requirement(self) -> Requirement:
        """What pip is asked for; of a wheel that lies in the package, its exact version."""
        if self.is_wheel:
            name, version, *_ = parse_wheel_filename(Path(self.text).name)
            return Requirement(f"{name}=={version}")
        return Requirement(self.text)


@dataclass(frozen=True)
class Bound(Dependency):
    """The versions of a package that still have what the code uses.

    Attributes:
        certain: whether the code surely comes past there: when it is imported, or in the service.
    """

    certain: bool = True


class Dependencies:
    """Collects the requirements of one package, each once, in their order."""

    def __init__(self, files: list[str], log: ChangeLog) -> None:
        self._wheels = {Path(name).name: name for name in files if name.endswith(".whl")}
        self._log = log
        self._lines: dict[str, Dependency] = {}

    @property
    def lines(self) -> tuple[Dependency, ...]:
        """All of them so far."""
        return tuple(self._lines.values())

    def add_blocks(self, dependencies: Any) -> None:
        """Add what config.json names under ``dependencies``."""
        blocks = dependencies if isinstance(dependencies, list) else [dependencies]
        for index, block in enumerate(blocks):
            place = f"config.json: dependencies[{index}]"
            if isinstance(block, str):
                self._add(block, "", "", place)
                continue
            if not isinstance(block, dict):
                self._drop(place, block, "is no block of packages, which is an object")
                continue
            installer = str(block.get("installer") or "pip").lower()
            if installer not in ("pip", "pip3", "conda"):
                self._drop(place, installer, "pip alone installs packages here")
                continue
            packages = block.get("packages")
            if packages is None and "package_name" in block:
                packages = [block]
            packages = packages if isinstance(packages, list) else [packages] if packages else []
            for number, package in enumerate(packages):
                where = f"{place}.packages[{number}]"
                if isinstance(package, str):
                    self._add(package, "", "", where)
                elif isinstance(package, dict):
                    cells = [package.get(f"package_{k}") for k in ("name", "version")]
                    name, version = (str(c).strip() if c else "" for c in cells)
                    self._add(name, version, str(package.get("restraint") or "").strip(), where)
                else:
                    self._drop(where, package, "is no package, which is an object")

    def _add(self, name: str, version: str, restraint: str, where: str) -> None:
        if not name:
            self._drop(where, "", "names no package")
        elif self._is_wheel(name):
            self._add_wheel(name, where)
        elif version in ("", "latest", "*"):
            if restraint:
                why = "stands without a version, so that any version will do"
                self._log.add(Kind.CHANGED, where, why, f"{name} {restraint}", name)
            self._add_text(name, where)
        else:
            self._add_version(name, version, restraint, where)

    def _add_version(self, name: str, version: str, restraint: str, where: str) -> None:
        if match := re.fullmatch(r"(==|>=|<=|~=|!=|<|>)\s*(.+)", version):
            self._add_text(f"{name}{match[1]}{match[2]}", where)
            return
        try:
            Version(version)
        except InvalidVersion:
            if re.fullmatch(r"\d[\w.]*\.\*", version):
                self._add_text(f"{name}=={version}", where)
                return
            why = "is no version, so that any version will do"
            self._log.add(Kind.CHANGED, where, why, f"{name} {version}", name)
            self._add_text(name, where)
            return
        operator = _OPERATORS.get(restraint.upper().replace("_", "").replace(" ", ""))
        if operator is None:
            operator = "==" if restraint == "" else restraint
            if operator not in ("==", ">=", "<=", "~=", ">", "<"):
                why = "no such restraint is known; the version was taken as it stands"
                self._log.add(Kind.CHANGED, where, why, f"{name} {restraint}", f"{name}=={version}")
                operator = "=="
        self._add_text(f"{name}{operator}{version}", where)

    def _add_text(self, text: str, where: str) -> None:
        """Add one requirement in the words of pip, or say why not."""
        text = re.sub(r"\s+(?=[=<>!~])|(?<=[=<>~])\s+", "", text.strip())
        if conda := _CONDA.fullmatch(text):
            text = f"{conda[1]}=={conda[2]}"
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            raise PackageError(
                f"{where}: expected a requirement such as `scikit-learn==1.1.3`, found {text!r}.\n"
                "Correct it, or remove it where the code does not import it."
            ) from None
        self._add_requirement(requirement, where)

    def _add_requirement(self, requirement: Requirement, where: str) -> None:
        name = canonicalize_name(requirement.name)
        if name in _NO_PACKAGES:
            self._drop(where, str(requirement), "stands on no index; `pip freeze` wrote it")
            return
        if requirement.url and not requirement.url.startswith("file:"):
            self._drop(
                where,
                str(requirement),
                "is an address, and nothing is fetched from there; put its wheel into the package",
                warning=True,
            )
            return
        if requirement.url:
            why = "is a path of the machine that wrote it; the index has it"
            self._log.add(Kind.CHANGED, where, why, str(requirement), requirement.name)
            requirement = Requirement(requirement.name)
        if local := re.findall(r"\+[a-z][\w.]*", str(requirement.specifier)):
            why = "is a build for a certain machine; the image has the one for a CPU"
            plain = str(requirement).replace(local[0], "")
            self._log.add(Kind.CHANGED, where, why, str(requirement), plain)
            requirement = Requirement(plain)
        if name in _CPU_NAMES:
            why = "needs what a base without a graphics card or an Ascend chip has not"
            plain = f"{_CPU_NAMES[name]}{requirement.specifier}"
            self._log.add(Kind.CHANGED, where, why, str(requirement), plain)
            requirement = Requirement(plain)
            name = canonicalize_name(requirement.name)
        self._keep(Dependency(str(requirement), where, name), where)

    def _keep(self, line: Dependency, where: str) -> None:
        known = self._lines.get(line.name)
        if known is None:
            self._lines[line.name] = line
        elif known.text.lower() != line.text.lower():
            stronger = line if _is_stronger(line, known) else known
            self._lines[line.name] = stronger
            why = f"was named as {known.text} before; what says more counts"
            self._log.add(Kind.CHANGED, where, why, line.text, stronger.text)

    def _is_wheel(self, name: str) -> bool:
        return name.lower().endswith((".whl", ".tar.gz", ".zip")) and "@" not in name

    def _add_wheel(self, name: str, where: str) -> None:
        file = Path(name.replace("\\", "/")).name
        if not file.endswith(".whl"):
            raise PackageError(
                f"{where}: {name} is the source of a package, and only wheels are installed.\n"
                f"Make a wheel of it with `pip wheel --no-deps {file}`, put that into the package, "
                "and name it there."
            )
        if file not in self._wheels:
            raise PackageError(
                f"{where}: {name} is a wheel that is not in the package.\n"
                "Put it beside customize_service.py, or name the package and its version instead."
            )
        try:
            distribution, *_ = parse_wheel_filename(file)
        except (InvalidWheelFilename, InvalidVersion) as error:
            raise PackageError(
                f"{where}: {file} has no name of a wheel ({error}).\n"
                "Give it the name under which it was built: name-version-python-abi-platform.whl."
            ) from error
        path = f"./{self._wheels[file]}"
        if path != name:
            self._log.add(Kind.CHANGED, where, "lies in the package", name, path)
        self._keep(Dependency(path, where, canonicalize_name(distribution)), where)

    def add_installed(self, command: str, where: str) -> None:
        """Add what the code itself installs by pip when it is loaded."""
        match = re.search(r"\bpip3?\s+install\s+(.+)", command)
        for word in match[1].split() if match else []:
            word = word.strip("'\"")
            is_wheel = self._is_wheel(word) and Path(word).name in self._wheels
            if is_wheel:
                self._add_wheel(word, where)
                continue
            name = re.fullmatch(r"([A-Za-z][\w.-]*?)(?:[=<>~!]=?[\w.*]+)?", word)
            if name and canonicalize_name(name[1]) not in self._lines:
                why = "the code installs it when it is loaded; the image has it already"
                self._log.add(Kind.MOVED, where, why, word, REQUIREMENTS_NAME)
                self._add_text(word, where)

    def add_file(self, folder: Path, name: str = REQUIREMENTS_NAME, level: int = 0) -> None:
        """Add the lines of a requirements file of the package, in whatever encoding it is."""
        text, encoding = decode_text((folder / name).read_bytes(), name)
        if encoding:
            self._log.add(Kind.READ, name, "pip reads UTF-8", encoding, "UTF-8")
        for number, line in _logical_lines(text):
            where = f"{name}, line {number}"
            option = re.match(r"-r\s*|--requirement[ =]|-c\s*|--constraint[ =]", line)
            if option and line.startswith(("-r", "--r")):
                other = (folder / Path(name).parent / line[option.end() :].strip()).resolve()
                if other.is_relative_to(folder.resolve()) and other.is_file() and level < 5:
                    self.add_file(folder, other.relative_to(folder.resolve()).as_posix(), level + 1)
                else:
                    self._drop(where, line, "is no file of the package", warning=True)
            elif line.startswith(("-e", "--editable", "git+", "http:", "https:")):
                why = "nothing is fetched from there; put its wheel into the package"
                self._drop(where, line, why, warning=True)
            elif line.startswith("-"):
                self._drop(where, line, "is an option of pip, whose configuration is its place")
            else:
                line = re.sub(r"\s--[a-z].*", "", line).strip()
                if self._is_wheel(line.partition(";")[0].strip()):
                    self._add_wheel(line.partition(";")[0].strip(), where)
                else:
                    self._add_text(line, where)

    def _drop(self, where: str, found: Any, why: str, *, warning: bool = False) -> None:
        self._log.add(Kind.WARNING if warning else Kind.DROPPED, where, why, found)


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the lines without comments, joined at backslashes, with their number."""
    kept, start = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        line = re.sub(r"(^|\s)#.*", "", line).strip().strip("\x00")
        start = start or number
        if line.endswith("\\"):
            kept += line[:-1].rstrip() + " "
            continue
        if whole := (kept + line).strip():
            yield start, whole
        kept, start = "", 0


def _is_stronger(line: Dependency, known: Dependency) -> bool:
    """Tell whether a line says more of a package than one before: a wheel, then a pin, then any."""

    def weight(of: Dependency) -> int:
        if of.is_wheel:
            return 3
        text = of.text
        return 2 if "==" in text else 1 if re.search("[<>~]", text) else 0

    return weight(line) > weight(known)
