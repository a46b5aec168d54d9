"""Running a notebook inside an instance of the local ModelArts, as somebody would by hand.

The instance is made from docker/preset by the platform's own API. Onto its disk, ``work``, go this
checkout and the Python environment that this very process runs in; there the same command line runs
the same notebook. What comes back is the executed notebook; the image stays in the registry. One
that was built in the instance, and not saved from it, is tried there at the end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from custom_image import local_platform
from custom_image.audit import Audit, search_layers
from custom_image.builders.ma_cli import ORGANIZATION_VARIABLE
from custom_image.builders.preset import ensure_preset_image
from custom_image.cloud import Cloud
from custom_image.engines.docker.copy import DockerWorkplace
from custom_image.engines.docker.engine import DockerEngine
from custom_image.errors import NotebookFailed, UsageError
from custom_image.image_saving.checkout import CHECKOUT, COMMAND, carry
from custom_image.image_saving.switch_image import find_built, switch_and_ask
from custom_image.progress import say
from custom_image.settings import find_project
from custom_image.target_python import TargetPython
from custom_image.wheelhouse import fill_wheelhouse, lock_files

ORGANIZATION: Final = "local"
_OUTPUT: Final = "build/notebooks"
_SAVED_NAME: Final = "image_name"
"""The parameter of a notebook that saves the instance it runs in."""


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
        saved_name = str(parameters.get(_SAVED_NAME, ""))
        # Where the notebook saves to, by its own rule: the one it is told, else the first.
        organization = str(parameters.get("organization", "")) or cloud.organizations()[0]
        if saved_name:
            # A rehearsal may be repeated; the platform takes a tag only once.
            cloud.delete_image(f"{organization}/{saved_name}")
        say(f"starting a notebook instance of {preset}")
        notebook_id = cloud.start_notebook(notebook.stem, image_id)
        label = f"custom-image.notebook={notebook_id}"
        try:
            with DockerWorkplace(label) as place:
                carry(place, [] if saved_name else [_wheels()])
                executed = _run(place, notebook, parameters, output_dir, preset)
                if saved_name:
                    _search(place, engine, f"{platform.registry}/{organization}/{saved_name}")
            if not saved_name:
                results = executed.with_suffix(".json")
                image = find_built(results, ORGANIZATION)
                answer = switch_and_ask(cloud, notebook_id, label, image)
                _add(results, {"switched_to": {"image": image, "answer": answer}})
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
    preset: str,
) -> Path:
    say(f"running {notebook.name} in the instance")
    pairs = [f"{name}={value}" for name, value in parameters.items()]
    options = [word for pair in pairs for word in ("-p", pair)]
    # An image that is built there goes where a saved one goes, onto the image of the instance.
    variables = [f"{ORGANIZATION_VARIABLE}={ORGANIZATION}", f"BASE_IMAGE={preset}"]
    command = ["env", *variables, *COMMAND, "notebooks", "run", notebook.stem, *options]
    code, _, error = place.execute(command, folder=CHECKOUT)
    output_dir.mkdir(parents=True, exist_ok=True)
    executed = output_dir / notebook.name
    for path in (executed, executed.with_suffix(".json")):
        path.unlink(missing_ok=True)
        content = place.read(f"{CHECKOUT}/{_OUTPUT}/{path.name}")
        if content is not None:
            path.write_bytes(content)
    if code:
        tail = error.strip()[-2000:]
        raise NotebookFailed(f"{notebook.name} stopped in the instance:\n{tail}\nSee {executed}.")
    return executed


def _wheels() -> str:
    """Return the folder of the wheels that a build context takes; an instance may reach no index.

    Raises:
        BuildFailed: pip finds none.
    """
    project = find_project()
    locks = lock_files("onnx", TargetPython())
    folder = fill_wheelhouse(locks, cache_dir=project / "build/wheelhouse")
    return str(folder.relative_to(project))


def _add(results: Path, further: Mapping[str, object]) -> None:
    content = json.loads(results.read_text(encoding="utf-8")) | dict(further)
    text = json.dumps(content, indent=2, ensure_ascii=False)
    results.write_text(f"{text}\n", encoding="utf-8")


def _search(place: DockerWorkplace, engine: DockerEngine, saved: str) -> None:
    """Say what of the things that still stand in the audit the saved image has."""
    _, found, _ = place.execute([*COMMAND, "audit", "--format", "json"], folder=CHECKOUT)
    audit = Audit.from_json(found)
    carried = search_layers(audit, saved, engine.save(saved))
    say(f"{saved} has {len(carried)} of the {len(audit.open)} things that the audit names")
    for one in carried:
        say(f"  {one}")
