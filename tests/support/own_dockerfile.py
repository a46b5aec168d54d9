"""A build context of somebody's own: a Dockerfile with two stages around the good service."""

from __future__ import annotations

import shutil
from pathlib import Path

GOOD_SERVICE = Path(__file__).with_name("good_service")
DOCKERFILE = """\
ARG BASE_IMAGE
FROM ${BASE_IMAGE} AS compiled
COPY . /work
RUN python3 -m compileall -q /work && rm /work/notes.txt

FROM ${BASE_IMAGE}
RUN echo 'ma-user:x:1000:100::/home/ma-user:/bin/sh' >>/etc/passwd && mkdir /home/ma-user
COPY --from=compiled --chown=1000:100 /work /home
COPY --chown=1000:100 config.json /home/ma-user/infer/model/1/config.json
COPY start /usr/local/bin/start
EXPOSE 8080
USER 1000:100
CMD ["sh", "/home/run.sh"]
"""


def write_own_context(folder: Path) -> Path:
    """Write the context to a folder that is not there yet; return it."""
    shutil.copytree(GOOD_SERVICE, folder)
    (folder / "Dockerfile").write_text(DOCKERFILE)
    (folder / "notes.txt").write_text("sent, and not in the image")
    (folder / "start").write_text("#!/bin/sh\necho started\n")
    (folder / "start").chmod(0o755)
    (folder / "secret.txt").write_text("never sent")
    (folder / ".dockerignore").write_text("secret.txt\nDockerfile\n.dockerignore\n")
    return folder
