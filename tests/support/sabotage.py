"""One-line sabotages of a good image: for every rule at least one that breaks it and nothing else.

A sabotage is lines of a Dockerfile on top of the good image, or a change of the config.json that it
is verified with, so that a reader sees at a glance what was broken.
"""

from __future__ import annotations

import io
import json
import posixpath
import shlex
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import custom_image.specification as spec
from custom_image.rules import Waits, catalogue

INFER = "/home/ma-user/infer"
SERVICE = f"{INFER}/model/1/customize_service.py"
AS_ROOT, AS_USER = "USER 0", "USER 1000:100"

# As short as the drills work: what lasts 60, 90 and 200 s on the platform.
SHORT_WAITS = Waits(true=False, keep_alive_s=4, drain_s=1.5, exit_s=5)
DRILLS = ("http.keep-alive", "sigterm.")


@dataclass(frozen=True)
class Sabotage:
    """One way to break one rule.

    Attributes:
        rule: the rule that has to find it.
        lines: of a Dockerfile, on top of the good image.
        config: changes the good image's config.json in place; None to leave it alone.
        settings: further arguments of ``verify``.
    """

    rule: str
    lines: tuple[str, ...] = ()
    config: Callable[[dict[str, Any]], object] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_batch(self) -> bool:
        """Whether it breaks an image for batch services."""
        return self.settings.get("profile") == "batch"

    @property
    def only(self) -> list[str]:
        """The rules to run: all, but drills that wait only where one of them is meant."""
        wanted = [rule.id for rule in catalogue() if not rule.id.startswith(DRILLS)]
        group = self.rule if self.rule.startswith("http.") else f"{self.rule.split('.')[0]}."
        return wanted + [rule.id for rule in catalogue() if rule.id.startswith((group,))]

    def change(self, config: str) -> str:
        """Return the text of config.json as the target is verified with it."""
        document = json.loads(config)
        if self.config:
            self.config(document)
        return json.dumps(document, indent=2)


def edit(path: str, script: str) -> str:
    """Return the line that edits a file of the image; its bytecode would hide the edit."""
    return (
        f"RUN sed -i {shlex.quote(script)} {path} && rm -rf {posixpath.dirname(path)}/__pycache__"
    )


def boots_with(line: str) -> tuple[str, ...]:
    """Return the lines that replace the last line of the boot file, which starts the service."""
    return (AS_ROOT, edit("/home/run.sh", f"$ c {line}"), AS_USER)


def limit(name: str, value: float, unit: str) -> spec.Edition:
    """Return the edition of a platform whose limit can be reached in a test."""
    limits = {"image_size": 50.0, "notebook_image_size": 50.0, "latency": 40.0, name: value}
    return spec.Edition(
        "test",
        **{key: spec.Requirement(limits[key], unit, spec.SPECIFICATIONS) for key in limits},
    )


def api(config: dict[str, Any]) -> dict[str, Any]:
    return config["apis"][0]


START = f"sh {INFER}/run.sh"
BATCH = {"profile": "batch"}
BALLAST = "RUN head -c 200000000 /dev/zero >/tmp/ballast"

TABLE = (
    Sabotage("config.valid", config=lambda c: c.update(model_type="image")),
    Sabotage("config.meant", config=lambda c: c.update(modle_type="Image")),
    Sabotage("image.size", (BALLAST,), settings={"edition": limit("image_size", 0.42, "GB")}),
    Sabotage(
        "image.notebook-size",
        (BALLAST,),
        settings={"edition": limit("notebook_image_size", 0.42, "GB")},
    ),
    Sabotage("boot.command", ("CMD []",)),
    Sabotage("boot.exec-form", ("CMD sh /home/run.sh",)),
    Sabotage("boot.file", ('CMD ["sh", "/home/start.sh"]',)),
    Sabotage("boot.file", (AS_ROOT, "RUN chmod 700 /home/run.sh && chown 0 /home/run.sh", AS_USER)),
    Sabotage("boot.text", (AS_ROOT, edit("/home/run.sh", r"1 s/^/\xef\xbb\xbf/"), AS_USER)),
    Sabotage("boot.text", (AS_ROOT, edit("/home/run.sh", r"1 s/$/\r/"), AS_USER)),
    Sabotage("network.port", ("ENV PORT=9000",), settings={"ready_timeout_s": 4}),
    Sabotage("network.bind-address", ("ENV HOST=127.0.0.1",)),
    Sabotage("health.ready", ("ENV MODEL_PATH=/nowhere",), settings={"ready_timeout_s": 4}),
    Sabotage("health.ready", ("ENV PORT=none",)),
    Sabotage("health.declared", config=lambda c: c.pop("health")),
    Sabotage("health.answers", config=lambda c: c["health"].update(url="/healthz")),
    Sabotage(
        "health.body",
        (edit(f"{INFER}/model_service/application.py", 's/{"health": "true"}/fine/'),),
    ),
    Sabotage(
        "health.truth",
        (
            edit(f"{INFER}/model_service/application.py", "s/if reason:/if False:/"),
            edit(SERVICE, "$ a import time; time.sleep(2)"),
        ),
    ),
    Sabotage(
        "health.start-time",
        (edit(SERVICE, "$ a import time; time.sleep(2)"),),
        config=lambda c: c["health"].update(
            initial_delay_seconds="0", period_seconds="1", failure_threshold="1"
        ),
    ),
    Sabotage("api.answers", config=lambda c: api(c).update(url="/predict")),
    Sabotage("api.answers", config=lambda c: api(c).update(method="get")),
    Sabotage(
        "api.content-type",
        config=lambda c: api(c)["response"].update({"Content-type": "multipart/form-data"}),
    ),
    Sabotage(
        "api.response-schema",
        config=lambda c: api(c)["response"]["data"]["properties"].update(
            mnist_result={"type": "string"}
        ),
    ),
    Sabotage(
        "http.latency",
        (edit(SERVICE, "s/return {OUTPUT_NAME/import time; time.sleep(0.1); &/"),),
        settings={"edition": limit("latency", 0.08, "s")},
    ),
    Sabotage(
        "http.bad-input",
        (edit(SERVICE, "s/raise ValueError.*no JPEG.*/import os; os._exit(1)/"),),
    ),
    Sabotage("http.keep-alive", ("ENV KEEP_ALIVE_SECONDS=1",)),
    Sabotage("logs.stdout", ('CMD ["sh", "-c", "exec sh /home/run.sh >/tmp/log 2>&1"]',)),
    Sabotage("user.account", (AS_ROOT, "RUN sed -i /^ma-user/d /etc/passwd", AS_USER)),
    Sabotage("user.platform-ids", (AS_ROOT, f"RUN chown -R 0:0 {INFER} && chmod 700 {INFER}")),
    Sabotage("sigterm.serves", boots_with(f"DRAIN_SECONDS=0 exec {START}")),
    Sabotage(
        "sigterm.in-flight",
        boots_with(f"test $DRAIN_SECONDS = 60 || export EXIT_SECONDS=1.6; exec {START}"),
    ),
    Sabotage("sigterm.exit", boots_with(f"{START}; exit")),
    Sabotage(
        "sigterm.exit-code",
        boots_with(f"{START} \\& trap 'kill $!; wait $!; exit 3' TERM; wait"),
    ),
    Sabotage(
        "sigterm.orphans",
        boots_with(f"({START}; :) \\& trap 'kill $!; sleep 3; exit 0' TERM; wait"),
    ),
    Sabotage("batch.boot-file", (f'CMD ["sh", "{INFER}/run.sh"]',), settings=BATCH),
    Sabotage("batch.dependencies", (AS_ROOT, "RUN rm $(which zip)", AS_USER), settings=BATCH),
)


def derive(engine: Any, good: str, lines: tuple[str, ...], tag: str) -> str:
    """Build ``lines`` on top of an image, in well under a second a line; return its reference."""
    dockerfile = "\n".join([f"FROM {good}", *lines, ""]).encode()
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        member = tarfile.TarInfo("Dockerfile")
        member.size = len(dockerfile)
        tar.addfile(member, io.BytesIO(dockerfile))
    context.seek(0)
    for message in engine.build(context, tag, {}):
        assert "error" not in message, message["error"]
    return tag


def config_of(engine: Any, image: str) -> str:
    """Return the config.json in an image."""
    content = engine.read_file(image, f"{spec.MODEL_DIR}/config.json")
    assert content, f"{image} holds no config.json"
    return content.decode()


def write_config(sabotage: Sabotage, good: str, folder: Path) -> Path | None:
    """Write the config.json that a sabotage is verified with; None where it changes none."""
    if sabotage.config is None:
        return None
    path = folder / "config.json"
    path.write_text(sabotage.change(good))
    return path
