"""Switching an instance to the image that was built in it, and asking that there.

A notebook cannot do so itself: stopping the instance ends it.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from custom_image.cloud import Cloud
from custom_image.engines.docker.copy import DockerWorkplace
from custom_image.errors import NotebookFailed
from custom_image.image_saving.checkout import COMMAND, OWNER, WORK
from custom_image.mnist import encode_jpeg, load_mnist
from custom_image.progress import say
from custom_image.specification import PORT

_READY_S: Final = 60.0
_PICTURE: Final = "seven.jpg"


def find_built(results: Path, organization: str) -> str:
    """Return the image that a run has built, ``organization/name:tag``, from the results of it.

    Raises:
        NotebookFailed: it has built none.
    """
    found = re.search(rf"\b{re.escape(organization)}/[\w.-]+:[0-9a-f]{{12}}\b", results.read_text())
    if found is None:
        raise NotebookFailed(f"{results.stem} ran in the instance, and built no image there.")
    return found[0]


def switch_and_ask(cloud: Cloud, notebook_id: str, label: str, image: str) -> dict[str, Any]:
    """Give an instance another image, and send it a picture there.

    The local ModelArts starts an image's own command, as a service does; so the model answers
    without anybody having started ``run.sh`` in a terminal, as on the platform.

    Args:
        cloud: with the keys of the instance.
        notebook_id: of the instance, which runs.
        label: of its container.
        image: registered, ``organization/name:tag``.

    Returns:
        The answer of the model, from JSON.

    Raises:
        NotebookFailed: it does not answer within a minute; with what was said.
        CloudRefused: the platform refuses to switch.
    """
    say(f"switching the instance to {image}")
    cloud.switch_notebook(notebook_id, image)
    # The image's own packages must not stand before those of the tool.
    ask = ["env", "-u", "PYTHONPATH", *COMMAND, "predict", f"http://127.0.0.1:{PORT}", _PICTURE]
    with DockerWorkplace(label) as place, tempfile.TemporaryDirectory() as folder:
        picture = Path(folder) / _PICTURE
        picture.write_bytes(encode_jpeg(load_mnist(sample=True).example(7)))
        place.copy_in([(picture, _PICTURE)], WORK, OWNER)
        deadline = time.monotonic() + _READY_S
        while True:
            code, answer, error = place.execute(ask, folder=WORK)
            if not code:
                say(f"{image} answers in the instance: {answer.strip()}")
                found: dict[str, Any] = json.loads(answer)
                return found
            if time.monotonic() > deadline:
                tail = error.strip()[-1000:]
                raise NotebookFailed(f"{image} does not answer in the instance:\n{tail}")
            time.sleep(0.2)
