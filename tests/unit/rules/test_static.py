"""Rules that only read: ports, probes, boot commands, engines, notebooks, names in the registry."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from custom_image.engines import ImageFacts, ImageFile
from custom_image.model_config import parse_model_config
from custom_image.report import Verdict
from custom_image.rules import REGISTRY, Profile, catalogue
from custom_image.specification import HUAWEICLOUD, Edition
from custom_image.verification import verify

catalogue()
GIT = "swr.eu-west-101.myhuaweicloud.com"
CODE = "/home/ma-user/infer/model/1/customize_service.py"


def facts(**changes: Any) -> ImageFacts:
    known = {
        "reference": f"{GIT}/my-org/mnist:1.0.0",
        "id": "sha256:0",
        "size_bytes": 250_000_000,
        "layers": ("sha256:1", "sha256:2"),
        "command": ("sh", "/home/run.sh"),
        "shell_form": changes.get("command", ())[:2] == ("/bin/sh", "-c"),
        "user": "1000:100",
        "working_dir": "/home/ma-user",
        "environment": {},
        "exposed_ports": (8080,),
        "architecture": "amd64",
        "os": "linux",
        "labels": {},
        "history": (("COPY weights", 200_000_000),),
    }
    return ImageFacts(**known | changes)


@dataclass
class Seen:
    """What these rules see: metadata, files, a config.json, and a port."""

    image: ImageFacts = field(default_factory=facts)
    files: dict[str, str] = field(default_factory=dict)
    members: dict[str, Any] = field(default_factory=dict)
    port: int = 8080
    profile: Profile = Profile.V1
    edition: Edition = HUAWEICLOUD

    @property
    def config(self):
        document = {"model_algorithm": "mnist", "model_type": "Image", **self.members}
        return parse_model_config(json.dumps(document), "config.json")

    def find_file(self, path: str) -> ImageFile | None:
        content = self.read_file(path)
        return ImageFile(content, 0o644, 1000, 100) if content is not None else None

    def read_file(self, path: str) -> bytes | None:
        return self.files[path].encode() if path in self.files else None


def verdict(rule_id: str, **seen: Any) -> str:
    return REGISTRY[rule_id].judge(Seen(**seen)).verdict


def boots(line: str, **changes: Any) -> dict[str, Any]:
    return {"files": {"/home/run.sh": f"#!/bin/sh\n{line}\n"}, **changes}


def health(**members: Any) -> dict[str, Any]:
    return {"members": {"health": {"check_method": "HTTP", "url": "/health", **members}}}


def named(name: str) -> dict[str, Any]:
    return {"image": facts(reference=name)}


def code(text: str) -> dict[str, Any]:
    return {"files": {CODE: text}}


PYTORCH = "from model_service.pytorch_model_service import PTServingBaseService\n"
CLASS = "class Service(PTServingBaseService):\n    pass\n"


@pytest.mark.parametrize(
    ("rule_id", "seen", "expected"),
    [
        ("port.default", {}, "PASSED"),
        ("port.default", {"port": 9000}, "FAILED"),
        ("port.exposed", {}, "PASSED"),
        ("port.exposed", {"image": facts(exposed_ports=(9000, 8080))}, "PASSED"),
        ("port.exposed", {"image": facts(exposed_ports=())}, "FAILED"),
        ("port.exposed", {"image": facts(exposed_ports=(5000,))}, "FAILED"),
        ("probe.timeout", health(timeout_seconds=4, period_seconds=5), "PASSED"),
        ("probe.timeout", health(timeout_seconds=5, period_seconds=5), "FAILED"),
        ("probe.timeout", health(timeout_seconds=9), "FAILED"),
        (
            "probe.timeout",
            {**health(timeout_seconds=9), "profile": Profile.V2},
            "PASSED",
        ),
        ("probe.timeout", health(), "PASSED"),
        ("probe.timeout", {}, "PASSED"),
        ("probe.command", health(check_method="EXEC", command="sh /health.sh"), "PASSED"),
        ("probe.command", health(check_method="EXEC", command="echo $HOME"), "FAILED"),
        ("probe.command", health(check_method="EXEC", command="a | b"), "FAILED"),
        ("probe.command", health(check_method="EXEC", command="x" * 1025), "FAILED"),
        ("probe.command", health(), "NOT CHECKED"),
        ("probe.url", health(), "PASSED"),
        ("probe.url", health(url="/a/b-c_d:e"), "PASSED"),
        ("probe.url", health(url="/health.json"), "FAILED"),
        ("probe.url", health(url="/health?full=1"), "FAILED"),
        ("probe.url", health(url="/" + "x" * 1024), "FAILED"),
        ("probe.url", health(check_method="EXEC", command="true"), "NOT CHECKED"),
        ("command.gunicorn", boots("exec python3 serve.py"), "PASSED"),
        ("command.gunicorn", boots("exec gunicorn --keep-alive 200 -k gevent app:app"), "PASSED"),
        (
            "command.gunicorn",
            boots("gunicorn --keep-alive=210 \\\n --worker-class=gthread app:app"),
            "PASSED",
        ),
        ("command.gunicorn", boots("gunicorn app:app"), "FAILED"),
        ("command.gunicorn", boots("/usr/bin/gunicorn --keep-alive 75 -k gevent a:a"), "FAILED"),
        ("command.gunicorn", boots("gunicorn --keep-alive 200 app:app"), "FAILED"),
        ("command.gunicorn", boots("# gunicorn app:app"), "PASSED"),
        ("command.gunicorn", boots("gunicorn -c gunicorn.conf.py app:app"), "NOT CHECKED"),
        ("command.gunicorn", {"image": facts(command=("gunicorn", "app:app"))}, "FAILED"),
        ("command.sudo", boots("mkdir -p /tmp/a"), "PASSED"),
        ("command.sudo", boots("sudo mkdir /data"), "FAILED"),
        ("command.sudo", boots("cd / && sudo mkdir data"), "FAILED"),
        ("command.sudo", boots("cat /etc/sudoers"), "PASSED"),
        ("command.conda", boots("exec /opt/conda/envs/serve/bin/python serve.py"), "PASSED"),
        ("command.conda", boots("conda activate serve"), "FAILED"),
        ("command.conda", boots("source activate serve"), "FAILED"),
        ("command.unbuffered", {"image": facts(environment={"PYTHONUNBUFFERED": "1"})}, "PASSED"),
        ("command.unbuffered", boots("exec python3 -u serve.py"), "PASSED"),
        ("command.unbuffered", boots("export PYTHONUNBUFFERED=1; exec python a.py"), "PASSED"),
        ("command.unbuffered", boots("exec python3 serve.py"), "FAILED"),
        ("command.unbuffered", boots("exec java -jar serve.jar"), "NOT CHECKED"),
        ("engine.size", {}, "PASSED"),
        ("engine.size", {"image": facts(size_bytes=31 * 10**9)}, "FAILED"),
        ("engine.boot-command", {"image": facts(command=("sh", "/home/mind/run.sh"))}, "PASSED"),
        (
            "engine.boot-command",
            {"image": facts(command=("/bin/sh", "-c", "sh /home/mind/run.sh"))},
            "PASSED",
        ),
        ("engine.boot-command", {}, "FAILED"),
        ("engine.health-url", health(), "PASSED"),
        ("engine.health-url", health(url="/v2/health/ready"), "FAILED"),
        ("engine.health-url", {}, "NOT CHECKED"),
        ("notebook.layers", {"image": facts(layers=("x",) * 125)}, "PASSED"),
        ("notebook.layers", {"image": facts(layers=("x",) * 126)}, "FAILED"),
        ("notebook.mounts", boots("exec sh /home/ma-user/infer/run.sh"), "PASSED"),
        ("notebook.mounts", boots("cd /home/ma-user/work/model"), "FAILED"),
        ("notebook.mounts", boots("cd /home/ma-user/workspace && ls /cached"), "PASSED"),
        ("notebook.mounts", boots("# was: /home/ma-user/work/run.sh"), "PASSED"),
        ("notebook.mounts", {"image": facts(environment={"MODEL": "/cache/model"})}, "FAILED"),
        ("notebook.mounts", {"image": facts(command=("sh", "/cache/run.sh"))}, "FAILED"),
        ("notebook.mounts", code("PATH = '/home/ma-user/work/model.pth'"), "FAILED"),
        ("notebook.service-file", code("class Service: pass"), "PASSED"),
        ("notebook.service-file", code("class Service("), "FAILED"),
        ("notebook.service-file", {}, "FAILED"),
        ("notebook.base-class", code(PYTORCH + CLASS), "PASSED"),
        ("notebook.base-class", code(PYTORCH.replace("pytorch", "tfserving") + CLASS), "FAILED"),
        ("notebook.base-class", code("class Service:\n    pass\n"), "FAILED"),
        ("notebook.base-class", code(CLASS), "FAILED"),
        (
            "notebook.base-class",
            code("from numpy import ndarray\nclass A(ndarray): pass"),
            "FAILED",
        ),
        (
            "notebook.base-class",
            code(
                PYTORCH.replace("import ", "import PTServingBaseService as Base #")
                + "class A(Base): pass"
            ),
            "PASSED",
        ),
        ("notebook.logging", code("print(1)"), "NOT CHECKED"),
        ("notebook.logging", code("logging.info('x')"), "FAILED"),
        (
            "notebook.logging",
            code("logging.basicConfig(level=logging.INFO)\nlogging.info('x')"),
            "PASSED",
        ),
        ("registry.path", {}, "PASSED"),
        ("registry.path", named("mnist:1.0.0"), "FAILED"),
        ("registry.path", named("my-org/mnist:1.0.0"), "FAILED"),
        ("registry.path", named("swr.example.com/mnist:1.0.0"), "FAILED"),
        ("registry.path", named("a.bc/d/e:1"), "FAILED"),
        ("registry.path", named("not a name"), "NOT CHECKED"),
        ("registry.organization", {}, "PASSED"),
        ("registry.organization", named(f"{GIT}/1st-org/mnist:1"), "FAILED"),
        ("registry.organization", named(f"{GIT}/library/mnist:1"), "FAILED"),
        ("registry.organization", named(f"{GIT}/my--org/mnist:1"), "FAILED"),
        ("registry.organization", named(f"{GIT}/my__org/mnist:1"), "PASSED"),
        ("registry.organization", named(f"{GIT}/{'o' * 65}/mnist:1"), "FAILED"),
        ("registry.repository", {}, "PASSED"),
        ("registry.repository", named(f"{GIT}/my-org/team/mnist:1"), "PASSED"),
        ("registry.repository", named(f"{GIT}/my-org/mnist--cpu:1"), "FAILED"),
        ("registry.repository", named(f"{GIT}/my-org/{'m' * 129}:1"), "FAILED"),
        ("registry.tag", {}, "PASSED"),
        ("registry.tag", named(f"{GIT}/my-org/mnist"), "FAILED"),
        ("registry.tag", named(f"{GIT}/my-org/mnist:latest"), "FAILED"),
        ("registry.tag", named(f"{GIT}/my-org/mnist:{'1' * 65}"), "FAILED"),
        ("registry.layer-size", {}, "PASSED"),
        ("registry.layer-size", {"image": facts(history=(("COPY", 10**10 + 1),))}, "FAILED"),
        ("registry.layer-size", {"image": facts(history=())}, "PASSED"),
        ("registry.layers", {"image": facts(layers=("x",) * 20)}, "PASSED"),
        ("registry.layers", {"image": facts(layers=("x",) * 21)}, "FAILED"),
        ("user.root", {}, "PASSED"),
        ("user.root", {"image": facts(user="")}, "FAILED"),
        ("user.root", {"image": facts(user="0:100")}, "FAILED"),
        ("batch.apis", {}, "FAILED"),
        ("batch.apis", {"members": {"apis": [{"url": "/", "method": "post"}]}}, "FAILED"),
        (
            "batch.apis",
            {"members": {"apis": [{"request": {"data": {}}, "response": {"data": None}}]}},
            "FAILED",
        ),
        (
            "batch.apis",
            {
                "members": {
                    "apis": [
                        {side: {"data": {"type": "object"}} for side in ("request", "response")}
                    ]
                }
            },
            "PASSED",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_rule_judges_what_it_reads(rule_id, seen, expected):
    assert verdict(rule_id, **seen) == expected


@pytest.mark.parametrize(
    ("code", "rule_id", "expected"),
    [
        ("import json\n", "code.syntax", Verdict.PASSED),
        ("<<<<<<< HEAD\nimport json\n", "code.syntax", Verdict.FAILED),
        ("print 'hello'\n", "code.syntax", Verdict.FAILED),
        ("from model_service.x import PTServingBaseService\n", "code.engine", Verdict.PASSED),
        ("from model_service.x import MXNetBaseService\n", "code.engine", Verdict.FAILED),
    ],
)
def test_the_services_code_is_read_and_never_run(code, rule_id, expected):
    assert verdict(rule_id, files={CODE: code}) == expected


def test_the_code_of_a_package_is_found_beside_its_config_json(tmp_path):
    (tmp_path / "customize_service.py").write_text("<<<<<<< HEAD\n")
    (tmp_path / "config.json").write_text("{}")

    report = verify(tmp_path, level="static", only=["code.syntax", "code.engine"])

    assert "line 1: is the marker of a merge" in report.check("code.syntax").measured
    assert report.check("code.engine").verdict is Verdict.NOT_CHECKED
