"""One-line sabotages of a good image: for every rule at least one that breaks it and nothing else.

A sabotage is lines of a Dockerfile on top of the good image, or a change of the config.json that it
is verified with, so that a reader sees at a glance what was broken. `broken_images.py` builds and
judges them.
"""

from __future__ import annotations

import json
import posixpath
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import custom_image.specification as spec
from custom_image.engines import StartOptions
from custom_image.rules import Needs, Waits, catalogue

INFER = "/home/ma-user/infer"
SERVICE = f"{INFER}/model/1/customize_service.py"
APPLICATION = f"{INFER}/model_service/http/application.py"
AS_ROOT, AS_USER = "USER 0", "USER 1000:100"

# Rules that start instances of their own, the only ones that take seconds; and those whose drill
# several of them judge, which therefore cost nothing beside one of them.
OWN_INSTANCE = (
    *("http.bad-input", "http.keep-alive", "user.platform-ids", "user.as-root"),
    *("sigterm.", "hitless.", "stop.", "stream.", "start.", "user.denied"),
    *("repeated.restart", "workers.", "confinement."),
)
ONE_DRILL = ("sigterm.",)
SAMPLES = Path(__file__).parent / "samples"
# What no Dockerfile can do: an image for another machine, a layer with names that lead out of it;
# and what only a build context has: they are broken in unit/rules/test_sabotaged_files.py.
WITHOUT_SABOTAGE = {"image.platform", "layers.unpack", "dockerfile.lint", "registry.manifest"}
# Those that need another api or protocol, many requests, or weights beside the image: broken in
# service/test_usage_rules.py and test_websocket_rule.py, container/test_growth.py and
# test_weights_rules.py. Named one by one: a new rule of these groups needs a fault of its own.
BROKEN_ELSEWHERE = {
    *("body.text", "websocket.frames"),
    *("growth.memory", "growth.descriptors", "growth.threads", "growth.disk"),
    *("weights.missing", "weights.truncated", "weights.swapped"),
    *("weights.depth", "weights.read-only", "weights.owner"),
}
# A service that streams is broken in service/test_stream_rules.py.
STREAM_RULES = {rule.id for rule in catalogue() if rule.id.startswith("stream.")}


@dataclass(frozen=True)
class Sabotage:
    """One way to break one rule.

    Attributes:
        rule: the rule that has to find it.
        lines: of a Dockerfile, on top of the good image.
        config: changes the good image's config.json in place; None to leave it alone.
        settings: further arguments of ``verify``.
        name: of the broken image, where the rule is about names; RUN becomes the run's id.
        also: rules that find the same fault by a drill of their own, where all rules are run.
    """

    rule: str
    lines: tuple[str, ...] = ()
    config: Callable[[dict[str, Any]], object] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    name: str = "custom-image/tests:sabotage-RUN"
    also: tuple[str, ...] = ()

    @property
    def is_batch(self) -> bool:
        """Whether it breaks an image for batch services."""
        return self.settings.get("profile") == "batch"

    @property
    def is_timed(self) -> bool:
        """Whether it is told from its neighbours by fractions of a second."""
        return self.rule in ("sigterm.in-flight", "sigterm.orphans")

    @property
    def only(self) -> list[str]:
        """The rules to run: its own, and all others that are quick.

        `make test-full` runs every rule on every sabotage.
        """
        drill = self.rule.startswith(ONE_DRILL)
        group = f"{self.rule.split('.')[0]}." if drill else self.rule
        reads_layers = any(r.id == self.rule and Needs.CONTENTS in r.needs for r in catalogue())
        return [
            rule.id
            for rule in catalogue()
            if rule.id.startswith(group)
            or (not rule.id.startswith(OWN_INSTANCE) and not Needs.CONTENTS & rule.needs)
            or (reads_layers and Needs.CONTENTS in rule.needs)
        ]

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


def inserts(line: str) -> tuple[str, ...]:
    """Return the lines that add one to the boot file."""
    return (AS_ROOT, edit("/home/run.sh", f"2 i {line}"), AS_USER)


def limit(name: str, value: float, unit: str) -> spec.Edition:
    """Return the edition of a platform whose limit can be reached in a test."""
    number = spec.Requirement(value, unit, spec.SPECIFICATIONS)
    changes: dict[str, Any] = {"notebook_image_size": spec.IMAGE_SIZE, name: number}
    return replace(spec.HUAWEICLOUD, name="test", **changes)


def api(config: dict[str, Any]) -> dict[str, Any]:
    return config["apis"][0]


START = 'sh "$here/ma-user/infer/run.sh"'
GUNICORN = "false \\&\\& gunicorn --keep-alive 200 -k gevent"
BATCH = {"profile": "batch"}
STATIC = {"level": "static"}
NEW = {"profile": "v2"}
ENGINE = {"profile": "engine"}
SAVED = {"profile": "notebook-save"}
PUSHED = {"profile": "registry"}
ORGANIZATION = "swr.eu-west-101.myhuaweicloud.com/my-org"
GOOD_NAME = f"{ORGANIZATION}/sabotage-RUN:1.0.0"
GOOD_ENGINE = (
    AS_ROOT,
    "RUN mkdir -p /home/mind && printf '#!/bin/sh\\nexec sh /home/run.sh\\n' >/home/mind/run.sh",
    AS_USER,
    'CMD ["sh", "/home/mind/run.sh"]',
)
NEW_FILE = "Path('/tmp', __import__('uuid').uuid4().hex)"
NOISE = "head -c 2000000 /dev/urandom >/tmp"
CROWD = "(sum(self.board.connections()) > 8)"
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
    Sabotage("boot.exec-form", ("CMD exec sh /home/run.sh",)),
    Sabotage("boot.file", ('CMD ["sh", "/home/start.sh"]',)),
    Sabotage("boot.file", (AS_ROOT, "RUN chmod 700 /home/run.sh && chown 0 /home/run.sh", AS_USER)),
    Sabotage("boot.text", (AS_ROOT, edit("/home/run.sh", r"1 s/^/\xef\xbb\xbf/"), AS_USER)),
    Sabotage("boot.text", (AS_ROOT, edit("/home/run.sh", r"1 s/$/\r/"), AS_USER)),
    Sabotage("network.port", ("ENV PORT=9000",), settings={"ready_timeout_s": 10}),
    Sabotage("network.bind-address", ("ENV HOST=127.0.0.1",)),
    Sabotage("health.ready", ("ENV MODEL_PATH=/nowhere",), settings={"ready_timeout_s": 4}),
    Sabotage("health.ready", ("ENV PORT=none",)),
    Sabotage("health.declared", config=lambda c: c.pop("health")),
    Sabotage("health.answers", config=lambda c: c["health"].update(url="/healthz")),
    Sabotage(
        "health.body",
        (edit(APPLICATION, 's/{"health": "true"}/fine/'),),
    ),
    Sabotage(
        "health.truth",
        (
            edit(APPLICATION, "s/if reason:/if False:/"),
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
    Sabotage(
        "user.platform-ids",
        (AS_ROOT, f"RUN chown -R 2000:100 {INFER} && chmod 700 {INFER}", "USER 2000:100"),
    ),
    Sabotage("user.as-root", boots_with(f'test "$(id -u)" != 0 || exit 1; exec {START}')),
    Sabotage("sigterm.serves", boots_with(f"DRAIN_SECONDS=0 exec {START}")),
    Sabotage(
        "sigterm.in-flight",
        (edit(f"{INFER}/model_service/processes/supervisor.py", "s/kill_at = .*/kill_at = 0.0/"),),
        settings={"waits": Waits(true=False, keep_alive_s=4, drain_s=4, exit_s=8, overtime_s=1)},
    ),
    Sabotage("sigterm.exit", boots_with(f"{START}; exit")),
    Sabotage(
        "sigterm.exit-code",
        boots_with(f"{START} \\& trap 'kill $!; wait $!; exit 3' TERM; wait"),
    ),
    Sabotage(
        "sigterm.orphans",
        # The server ends as it should, a helper's child stays.
        boots_with(
            f"(sleep 99; :) \\& helper=$!; {START} \\& "
            "trap 'kill $helper $!; wait; exit 0' TERM; wait"
        ),
    ),
    Sabotage("batch.boot-file", (f'CMD ["sh", "{INFER}/run.sh"]',), settings=BATCH),
    Sabotage("batch.apis", config=lambda c: api(c).pop("response"), settings=BATCH | STATIC),
    Sabotage("body.size", ("ENV MAX_BODY_BYTES=1000000",)),
    Sabotage("user.root", (AS_ROOT,)),
    Sabotage("user.home", (AS_ROOT, "RUN chown 0:0 /home/ma-user", AS_USER)),
    Sabotage("port.default", ("ENV PORT=9000", "EXPOSE 9000"), settings={"port": 9000}),
    Sabotage(
        "port.exposed",
        ("ENV PORT=9000",),
        settings={"port": 9000, "edition": limit("port", 9000, "")},
    ),
    Sabotage(
        "probe.timeout",
        config=lambda c: c["health"].update(timeout_seconds="5", period_seconds="5"),
    ),
    Sabotage(
        "probe.command",
        config=lambda c: c.update(
            readiness_health={"check_method": "EXEC", "command": "cat /tmp/up | wc"}
        ),
        settings=NEW | STATIC,
    ),
    Sabotage(
        "probe.url",
        config=lambda c: c.update(readiness_health={"url": "/health.json"}),
        settings=NEW | STATIC,
    ),
    Sabotage("probe.startup", settings=NEW | {"edition": limit("startup_probe_from", 0.01, "s")}),
    Sabotage("command.gunicorn", inserts("false \\&\\& gunicorn app:app"), settings=STATIC),
    Sabotage("command.sudo", inserts("false \\&\\& sudo true"), settings=STATIC),
    Sabotage("command.conda", inserts("false \\&\\& conda activate serve"), settings=STATIC),
    Sabotage("command.unbuffered", ("ENV PYTHONUNBUFFERED=",), settings=STATIC),
    Sabotage(
        "engine.size",
        GOOD_ENGINE,
        settings=ENGINE | STATIC | {"edition": limit("engine_size", 0.01, "GB")},
    ),
    Sabotage("engine.boot-command", settings=ENGINE | STATIC),
    Sabotage(
        "engine.health-url",
        (*GOOD_ENGINE, edit(f"{INFER}/model/1/config.json", "s#/health#/live#")),
        settings=ENGINE,
    ),
    Sabotage("notebook.layers", settings=SAVED | {"edition": limit("notebook_layers", 3, "")}),
    Sabotage("notebook.mounts", ("ENV MODEL=/home/ma-user/work/model",), settings=SAVED),
    Sabotage("notebook.service-file", (f"RUN rm {SERVICE}",), settings=SAVED),
    Sabotage(
        "notebook.base-class",
        (edit(SERVICE, "s/from model_service.model_service/from model_service.asgi/"),),
        settings=SAVED,
    ),
    Sabotage(
        "notebook.logging", (edit(SERVICE, "$ a import logging; logging.info(1)"),), settings=SAVED
    ),
    Sabotage("registry.path", settings=PUSHED),
    Sabotage("registry.organization", settings=PUSHED, name=GOOD_NAME.replace("my", "1st")),
    Sabotage("registry.repository", settings=PUSHED, name=GOOD_NAME.replace("e-R", "e--R")),
    Sabotage("registry.tag", settings=PUSHED, name=GOOD_NAME.replace("1.0.0", "latest")),
    Sabotage(
        "registry.layer-size",
        (BALLAST,),
        settings=PUSHED | {"edition": limit("layer_size", 0.19, "GB")},
        name=GOOD_NAME,
    ),
    Sabotage(
        "registry.layers",
        settings=PUSHED | {"edition": limit("pushed_layers", 3, "layers")},
        name=GOOD_NAME,
    ),
    Sabotage("batch.dependencies", (AS_ROOT, "RUN rm $(which zip)", AS_USER), settings=BATCH),
    Sabotage(
        "tls.protocol",
        config=lambda c: api(c).update(protocol="https"),
        settings={"ready_timeout_s": 10},
    ),
    Sabotage(
        "expected.answers",
        (edit(SERVICE, "s/int(np.argmax/9 - int(np.argmax/"),),
        settings={"samples": SAMPLES},
    ),
    Sabotage("hitless.upgrade", ("ENV WORKERS=1 MAX_CONNECTIONS=12",)),
    Sabotage(
        "repeated.answers",
        (edit(SERVICE, "s/int(np.argmax.*/__import__('random').randrange(10**9)}/"),),
    ),
    Sabotage(
        "repeated.restart",
        boots_with(f"test ! -e /tmp/pid || exit 3; touch /tmp/pid; exec {START}"),
    ),
    # More connections than other rules open; the other worker goes on.
    Sabotage(
        "workers.stay",
        (
            "ENV WORKERS=2",
            edit(APPLICATION, f"s/started = .*/&; self.slot or {CROWD} and os._exit(1)/"),
        ),
        also=("hitless.upgrade",),
    ),
    Sabotage(
        "workers.busy",
        (edit(APPLICATION, f's/reason = "" if self.*/&; reason = reason or "busy" * {CROWD}/'),),
    ),
    # Health remembers that it was good once; a model that is loaded again hangs.
    Sabotage(
        "workers.dead",
        (
            edit(
                APPLICATION,
                's#reason = "" if self.model.ready#self.model.ready and open("/tmp/once", "w"); '
                '& or os.path.exists("/tmp/once")#',
            ),
            edit(SERVICE, "$ a import os, time; os.path.exists('/tmp/once') and time.sleep(1e6)"),
        ),
        also=("repeated.restart",),
    ),
    # Beside the model it may write: the runtime gives each worker a copy of the package.
    Sabotage("confinement.read-only", inserts(f"touch {INFER}/a_log || exit 1")),
    Sabotage(
        "confinement.memory",
        settings={"edition": limit("memory", 0.03, "GB"), "ready_timeout_s": 8},
    ),
    Sabotage(
        "confinement.full-disk",
        (
            edit(
                SERVICE,
                f"s#return {{#{NEW_FILE}.write_text('.' * 9999); &#",
            ),
        ),
    ),
    Sabotage(
        "files.architecture",
        (
            AS_ROOT,
            "RUN cp /bin/true /usr/bin/foreign && "
            "printf '\\267' | dd of=/usr/bin/foreign bs=1 seek=18 conv=notrunc",
            AS_USER,
        ),
        settings=STATIC,
    ),
    Sabotage(
        "files.libraries",
        (AS_ROOT, "RUN sed s/libc.so.6/libX.so.6/ /bin/true >/usr/bin/homeless", AS_USER),
        settings=STATIC,
    ),
    Sabotage(
        "files.driver",
        (AS_ROOT, "RUN mkdir /usr/local/nvidia && touch /usr/local/nvidia/libGL.so", AS_USER),
        settings=STATIC,
    ),
    Sabotage(
        "files.startup",
        (
            AS_ROOT,
            "RUN folder=/usr/local/lib/python3/site-packages; "
            "mkdir -p $folder && echo 'import os; os.environ' >$folder/x.pth",
            AS_USER,
        ),
        settings=STATIC,
    ),
    Sabotage("files.shadows", (f"RUN touch {INFER}/model/1/antigravity.py",), settings=STATIC),
    Sabotage(
        "files.toolkits",
        (
            "RUN for cuda in 11.8 12.4; do mkdir -p /tmp/cuda-$cuda/lib64 && "
            "touch /tmp/cuda-$cuda/lib64/libcudart.so.$cuda; done",
        ),
        settings=STATIC,
    ),
    Sabotage("code.syntax", (edit(SERVICE, "1 i <<<<<<< HEAD"),), settings=STATIC),
    Sabotage(
        "code.engine",
        (edit(SERVICE, "$ a from model_service.mxnet_model_service import MXNetBaseService"),),
        settings=STATIC,
    ),
    # Another server in the same process answers GET / at a port of its own.
    Sabotage(
        "health.port",
        (
            edit(
                SERVICE,
                "$ a import http.server as h, threading as t; t.Thread(daemon=True, target="
                'lambda: h.test(h.SimpleHTTPRequestHandler, port=9090, bind="0.0.0.0")).start()',
            ),
        ),
        config=lambda c: c["health"].update(url="/"),
    ),
    Sabotage(
        "api.location",
        (
            edit(
                APPLICATION,
                's#headers = ((b"x-req#headers = ((b"location", b"/j/1"), (b"x-req#',
            ),
        ),
    ),
    Sabotage(
        "logs.files",
        (
            edit(
                APPLICATION,
                "s#self._access_log.write($#(lambda *row: print(*row, file=open("
                '"/tmp/requests.log", "a")))(#',
            ),
        ),
    ),
    Sabotage("image.volume", (f"VOLUME {INFER}/model",), settings=STATIC),
    Sabotage(
        "boot.scripts",
        (*inserts("false \\&\\& sh /tmp/more.sh"), "RUN printf 'true\\r\\n' >/tmp/more.sh"),
        settings=STATIC,
    ),
    Sabotage("command.preload", inserts(f"{GUNICORN} --preload app:app"), settings=STATIC),
    Sabotage("command.cores", inserts("false \\&\\& nproc"), settings=STATIC),
    # The device is lost after a while: every prediction fails, and health remembers better days.
    Sabotage(
        "workers.failing",
        (
            edit(APPLICATION, f's#started = .*#&; {CROWD} and open("/tmp/lost", "w")#'),
            edit(APPLICATION, "s#if reason:#if reason and not os.path.exists('/tmp/lost'):#"),
            edit(
                SERVICE,
                "s#return {OUTPUT_NAME#import os; os.path.exists('/tmp/lost') and 1 / 0; &#",
            ),
        ),
        also=("workers.dead", "hitless.upgrade"),
    ),
    Sabotage(
        "command.ownership",
        inserts("false \\&\\& chmod -R 755 /home/mind/model"),
        settings=STATIC,
    ),
    Sabotage("sigterm.loading", boots_with(f"trap - TERM; sleep 6; exec {START}")),
    Sabotage("stop.tools", settings=NEW | {"stop_command": "pkill -TERM -f app.py"}),
    Sabotage("stop.command", settings=NEW | {"stop_command": "kill -SIGTERM 1"}),
    Sabotage("stop.in-flight", settings=NEW | {"stop_command": "kill -9 -1; sleep 1"}),
    Sabotage(
        "user.denied",
        (edit(SERVICE, "$ a __import__('os').system('touch /etc/refused')"),),
    ),
    Sabotage(
        "start.old-host",
        (edit(f"{INFER}/model_service/processes/clone3.py", "s/errno.EPERM/-1/"),),
    ),
    # A datagram needs a route and no answer, so that the machine of the tests needs no internet.
    Sabotage(
        "start.offline",
        (edit(SERVICE, "$ a import socket as s; s.socket(type=2).connect(('192.0.2.1', 9))"),),
    ),
    Sabotage("start.cpuset", (edit(SERVICE, "$ a import os; os.sched_setaffinity(0, {0})"),)),
    Sabotage(
        "start.cores",
        inserts("WORKERS=$(getconf _NPROCESSORS_ONLN); export WORKERS"),
    ),
    Sabotage(
        "start.shared-memory",
        (
            edit(
                SERVICE,
                "$ a import os; shm = os.statvfs('/dev/shm'); "
                "assert shm.f_blocks * shm.f_frsize > 1e8",
            ),
        ),
        settings={"start_options": StartOptions(shm_bytes=256 * spec.MIB)},
    ),
    Sabotage("boot.lint", inserts("rm -f $1"), settings=STATIC),
    Sabotage("secrets.environment", ("ENV API_TOKEN=7d1f0c99aa",), settings=STATIC),
    Sabotage("secrets.history", ("ARG GIT_TOKEN=7d1f0c99aa",), settings=STATIC),
    Sabotage(
        "secrets.files",
        ("RUN echo machine pypi login me password 7d1f0c >/tmp/.netrc", "RUN rm /tmp/.netrc"),
        settings=STATIC,
    ),
    Sabotage(
        "waste.caches",
        (f"RUN mkdir -p /tmp/.cache/pip && {NOISE}/.cache/pip/wheel",),
        settings=STATIC,
    ),
    Sabotage("waste.duplicates", (f"RUN {NOISE}/one && cp /tmp/one /tmp/two",), settings=STATIC),
    Sabotage("waste.replaced", (f"RUN {NOISE}/one", "RUN rm /tmp/one"), settings=STATIC),
    Sabotage(
        "model.pickle",
        ("RUN printf \"cos\\\\nsystem\\\\n(S'true'\\\\ntR.\" >/tmp/weights.pkl",),
        settings=STATIC,
    ),
)
