"""Settings from the environment, and CPUs from the cgroup."""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path

import pytest
from runtime import EXAMPLE_SERVICE, MODEL_SERVICE, REPOSITORY, ROOTFS_HOME

from custom_image import specification
from model_service.processes.cpus import count_cpus, read_quota
from model_service.settings import Settings, SettingsError, read_settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "http"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("WORKERS", "0"),
        ("WORKERS", "many"),
        ("MODEL_SERVER", "nginx"),
        ("DRAIN_SECONDS", "-1"),
        ("DRAIN_SECONDS", "nan"),
        ("EXIT_SECONDS", "60"),
        ("HEALTH_WHILE_DRAINING", "404"),
        ("MAX_BODY_BYTES", "12MB"),
        ("LOG_LEVEL", "LOUD"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_with_what_was_expected(name, value):
    with pytest.raises(SettingsError, match=f"^{name}: expected .*found '?{re.escape(value)}"):
        read_settings({name: value})


def test_defaults_are_the_platforms_numbers():
    settings = read_settings({})

    assert settings.port == specification.PORT.value
    assert settings.host == specification.BIND_ADDRESS.value
    assert settings.drain_seconds == specification.SIGTERM_DRAIN.value
    assert settings.drain_seconds < settings.exit_seconds < specification.SIGTERM_EXIT.value
    assert settings.keep_alive_seconds == specification.KEEP_ALIVE.value
    assert settings.predict_timeout_seconds == specification.SYNCHRONOUS_LATENCY.value
    assert settings.max_body_bytes >= specification.REQUEST_BODY.value * 10**6
    assert settings.max_body_bytes < 13 * 10**6
    assert settings.drain_seconds - settings.farewell_seconds == 55


def test_an_empty_variable_counts_as_unset():
    assert read_settings({"PORT": "", "WORKERS": " ", "MODEL_PATH": ""}) == read_settings({})


def test_the_boot_files_lie_where_the_platform_wants_them():
    home = Path(specification.USER_HOME.value).parent
    boot = Path(specification.BOOT_FILE.value).relative_to(home)
    model = Path(specification.MODEL_DIR.value).relative_to(home)

    assert (ROOTFS_HOME / boot).is_file()
    assert (ROOTFS_HOME / model.parents[1] / "run.sh").is_file()


def write_v2(root: Path, text: str) -> None:
    (root / "cpu.max").write_text(text)


def write_v1(root: Path, quota: int) -> None:
    (root / "cpu").mkdir()
    (root / "cpu" / "cpu.cfs_quota_us").write_text(f"{quota}\n")
    (root / "cpu" / "cpu.cfs_period_us").write_text("100000\n")


@pytest.mark.parametrize(
    ("quota", "cpus", "workers"),
    [
        (50_000, 0.5, 1),
        (100_000, 1.0, 1),
        (150_000, 1.5, 1),
        (200_000, 2.0, 2),
        (6_400_000, 64.0, 0),
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_workers_follow_the_quota_of_the_cgroup(tmp_path, version, quota, cpus, workers):
    if version == 1:
        write_v1(tmp_path, quota)
    else:
        write_v2(tmp_path, f"{quota} 100000\n")

    assert read_quota(tmp_path) == cpus
    available = len(os.sched_getaffinity(0))
    assert count_cpus(tmp_path) == min(workers or available, available)


@pytest.mark.parametrize("content", ["max 100000\n", "", "many\n", "0 0\n"])
def test_without_a_quota_workers_follow_the_affinity(tmp_path, content):
    write_v2(tmp_path, content)

    assert read_quota(tmp_path) is None
    assert count_cpus(tmp_path) == len(os.sched_getaffinity(0))


def test_version_1_without_a_quota_follows_the_affinity(tmp_path):
    write_v1(tmp_path, -1)

    assert count_cpus(tmp_path) == len(os.sched_getaffinity(0))


def test_what_ships_in_the_package_is_read_by_python_3_7():
    ast.parse(EXAMPLE_SERVICE.read_text(), feature_version=(3, 7))


def test_every_setting_is_in_the_readme():
    text = (REPOSITORY / "model_package" / "README.md").read_text()

    for name in Settings.__dataclass_fields__:
        assert f"`{name.upper()}`" in text, name


def test_what_ships_imports_nothing_but_itself_and_its_requirements():
    requirements = REPOSITORY / "docker" / "requirements"
    text = "".join(
        (requirements / f"{name}.in").read_text() for name in ("server", "onnx", "torch")
    )
    required = {line.split("#")[0].strip() for line in text.splitlines()} - {""}
    names = {"pillow": "PIL"}
    # The author's own choice of engine: imported where the package uses its base class.
    engines = {"torch", "tensorflow", "caffe", "pyspark", "joblib", "xgboost"}
    import sys

    allowed = {names.get(name, name) for name in required} | sys.stdlib_module_names | engines

    for path in [*MODEL_SERVICE.rglob("*.py"), EXAMPLE_SERVICE]:
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules = [node.module]
            for module in modules:
                assert module.split(".")[0] in allowed | {"model_service"}, f"{path.name}: {module}"
