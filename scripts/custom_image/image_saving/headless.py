"""Running a notebook inside an instance of the local ModelArts, as somebody would by hand.

The instance is made from docker/preset by the platform's own API. Onto its disk, ``work``, go this
checkout and the Python environment that this very process runs in; there the same command line runs
the same notebook. What comes back is the executed notebook; the saved image stays in the registry.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from custom_image import local_platform
from custom_image.audit import Audit, search_layers
from custom_image.builders.preset import ensure_preset_image
from custom_image.cloud import Cloud
from custom_image.engines.docker import DockerEngine
from custom_image.engines.docker_workplace import DockerWorkplace
from custom_image.errors import NotebookFailed, UsageError
from custom_image.progress import say
from custom_image.settings import find_project
from custom_image.specification import GROUP_ID, NOTEBOOK_MOUNTS, USER_ID

ORGANIZATION: Final = "local"
_PROJECT_NAME: Final = "modelarts-custom-image"
_WORK: Final = NOTEBOOK_MOUNTS[0]
_ENVIRONMENT: Final = f"{_WORK}/environment"
_PACKAGES: Final = f"{_ENVIRONMENT}/lib/python3.11/site-packages"
_CHECKOUT: Final = f"{_WORK}/{_PROJECT_NAME}"
_OWNER: Final = (USER_ID.value, GROUP_ID.value)
# What the notebook reads, and what spares it a download and a training that were done before.
_PARTS: Final = (
    "docker", "model_package", "notebooks", "scripts", "pyproject.toml",
    "build/model", "build/model_package", "build/mnist",
)  # fmt: skip
_COMMAND: Final = (
    f"{_ENVIRONMENT}/bin/python3", "-c", "from custom_image.cli import main; main()",
)  # fmt: skip
_OUTPUT: Final = "build/notebooks"


def run_in_instance(
    notebook: Path,
    parameters: Mapping[str, str | int | float | bool],
    output_dir: Path,
    *,
    folder: Path = local_platform.DEFAULT_FOLDER,
) -> Path:
    """Run a notebook in a new instance, which is deleted behind it; return the executed one.

    The platform that runs in ``folder`` is used; where none does, one is started, and stopped in
    the end.

    Raises:
        NotebookFailed: a cell failed; with the end of what the run said.
        UsageError: the platform that runs does not offer the preset image.
        CloudRefused: the platform refuses.
        Unavailable: there is no Docker engine, or the platform does not start.
    """
    with closing(DockerEngine.connect()) as engine:
        return _run_with(engine, notebook, parameters, output_dir, folder)


def _run_with(
    engine: DockerEngine,
    notebook: Path,
    parameters: Mapping[str, str | int | float | bool],
    output_dir: Path,
    folder: Path,
) -> Path:
    preset = ensure_preset_image(engine)
    ran = local_platform.find(folder) is not None
    platform = local_platform.start(folder, [preset])
    try:
        cloud = Cloud.connect(platform.endpoint, platform.credentials_file)
        image_id = cloud.find_preset(preset)
        if not image_id:
            raise UsageError(
                f"the local ModelArts that runs does not offer {preset}.\n"
                f"Start it anew: custom-image platform down, and up --preset {preset}"
            )
        cloud.create_organization(ORGANIZATION)
        # A rehearsal may be repeated; the platform takes a tag only once.
        cloud.delete_image(f"{ORGANIZATION}/{parameters['image_name']}")
        say(f"starting a notebook instance of {preset}")
        notebook_id = cloud.start_notebook(notebook.stem, image_id)
        try:
            with DockerWorkplace(f"custom-image.notebook={notebook_id}") as place:
                executed = _run(place, notebook, parameters, output_dir)
                saved = f"{platform.registry}/{ORGANIZATION}/{parameters['image_name']}"
                _search(place, engine, saved)
            return executed
        finally:
            cloud.delete_notebook(notebook_id)
    finally:
        if not ran:
            local_platform.stop(folder)


def _run(
    place: DockerWorkplace,
    notebook: Path,
    parameters: Mapping[str, str | int | float | bool],
    output_dir: Path,
) -> Path:
    say("copying this checkout and its Python environment onto the disk of the instance")
    make = ["python3", "-m", "venv", "--without-pip", "--symlinks", _ENVIRONMENT]
    code, _, error = place.execute(make, folder=_WORK)
    if code:
        raise NotebookFailed(f"the instance can make no Python environment:\n{error}")
    place.copy_in(_environment_files(), _PACKAGES, _OWNER)
    place.copy_in(_checkout_files(), _WORK, _OWNER)
    paths = f"{_CHECKOUT}/scripts\n{_CHECKOUT}/model_package\n"
    write = ["sh", "-c", 'printf %s "$1" >"$2"', "sh", paths, f"{_PACKAGES}/checkout.pth"]
    place.execute(write, folder=_WORK)

    say(f"running {notebook.name} in the instance")
    pairs = [f"{name}={value}" for name, value in parameters.items()]
    options = [word for pair in pairs for word in ("-p", pair)]
    code, _, error = place.execute(
        [*_COMMAND, "notebooks", "run", notebook.stem, *options], folder=_CHECKOUT
    )
    output_dir.mkdir(parents=True, exist_ok=True)
    executed = output_dir / notebook.name
    for path in (executed, executed.with_suffix(".json")):
        path.unlink(missing_ok=True)
        content = place.read(f"{_CHECKOUT}/{_OUTPUT}/{path.name}")
        if content is not None:
            path.write_bytes(content)
    if code:
        tail = error.strip()[-2000:]
        raise NotebookFailed(f"{notebook.name} stopped in the instance:\n{tail}\nSee {executed}.")
    return executed


def _search(place: DockerWorkplace, engine: DockerEngine, saved: str) -> None:
    """Say what of the things that still stand in the audit the saved image has."""
    _, found, _ = place.execute([*_COMMAND, "audit", "--format", "json"], folder=_CHECKOUT)
    audit = Audit.from_json(found)
    carried = search_layers(audit, saved, engine.save(saved))
    say(f"{saved} has {len(carried)} of the {len(audit.open)} things that the audit names")
    for one in carried:
        say(f"  {one}")


def _checkout_files() -> Iterator[tuple[Path, str]]:
    project = find_project()
    yield from _parents(_PROJECT_NAME)
    for part in _PARTS:
        top = project / part
        paths = [top, *sorted(top.rglob("*"))] if top.is_dir() else [top]
        if part.startswith("build/") and top.exists():
            yield project / "build", f"{_PROJECT_NAME}/build"
        for path in paths:
            if path.exists() and not path.is_symlink() and "__pycache__" not in path.parts:
                yield path, f"{_PROJECT_NAME}/{path.relative_to(project)}"


def _parents(name: str) -> Iterator[tuple[Path, str]]:
    yield find_project() / "docker", name  # any folder: its name and its mode are what is taken


def _environment_files() -> Iterator[tuple[Path, str]]:
    """Yield what this project and all that it requires have in this environment."""
    for name in sorted(_required(_PROJECT_NAME, {})):
        distribution = importlib.metadata.distribution(name)
        for file in distribution.files or ():
            path = Path(str(distribution.locate_file(file)))
            # Scripts name this machine's Python, and the editable install this machine's checkout.
            is_inside = ".." not in file.parts and not file.name.startswith("__editable__")
            is_needed = file.suffix not in (".pyc", ".a") and "include" not in file.parts
            if is_inside and is_needed and path.is_file():
                yield path, str(file)


def _required(name: str, found: dict[str, None]) -> dict[str, None]:
    """Return the names of a package and of everything that it requires, as installed here.

    A requirement of an extra is none; one of another system is not installed.
    """
    normal = re.sub(r"[-_.]+", "-", name).lower()
    if normal not in found:
        try:
            requires = importlib.metadata.requires(normal) or []
        except importlib.metadata.PackageNotFoundError:
            return found  # one of another system
        found[normal] = None
        for text in requires:
            required = re.match(r"[A-Za-z0-9._-]+", text)
            if required and not re.search(r"\bextra\s*==", text):
                _required(required[0], found)
    return found
