"""Rules on an image that comes out of a notebook instance, and still holds its model."""

from __future__ import annotations

import ast
import re

from custom_image.model_package import BASE_CLASSES
from custom_image.python_source import parse_source
from custom_image.rules import (
    Context,
    Finding,
    Needs,
    Profile,
    Severity,
    failed,
    not_checked,
    passed,
    rule,
)
from custom_image.rules.static.boot import boot_path
from custom_image.rules.static.command import INFER_BOOT_FILE
from custom_image.specification import (
    BOOT_FILE,
    INFERENCE_CODE,
    LOG_LEVEL,
    MODEL_DIR,
    NOTEBOOK_INFERENCE,
    NOTEBOOK_MOUNTS,
)

SAVED = frozenset({Profile.NOTEBOOK_SAVE})
SERVICE_FILE = f"{MODEL_DIR}/customize_service.py"
MODULES = {
    "TfServingBaseService": "tfserving_model_service",
    "PTServingBaseService": "pytorch_model_service",
    "SingleNodeService": "model_service",
}


@rule(
    id="notebook.layers",
    title="The image has few enough layers to be saved once more",
    why="Each save adds a layer; at the engine's ceiling saving ends with `too many layers`.",
    severity=Severity.ERROR,
    profiles=SAVED,
    needs=Needs.IMAGE,
    limit_field="notebook_layers",
    remediation="Build it anew from a Dockerfile instead of saving it again.",
    good="an image with 40 layers",
    bad="an image that was saved 100 times",
)
def layers(context: Context) -> Finding:
    """Count the layers; the limit is inferred from the message that the platform shows."""
    found = len(context.image.layers)
    is_few = found <= context.edition.notebook_layers.value
    return (passed if is_few else failed)(f"{found} layers")


@rule(
    id="notebook.mounts",
    title="Nothing that the image starts lies where a notebook instance mounts its disks",
    why="What lies there is not saved: the image starts without its model.",
    severity=Severity.ERROR,
    profiles=SAVED,
    needs=Needs.IMAGE | Needs.FILES,
    expected="nothing below " + " or ".join(NOTEBOOK_MOUNTS),
    source=NOTEBOOK_INFERENCE,
    remediation=f"Copy the model and its code to {MODEL_DIR} before the image is saved.",
    good=f"cp -r work/model/* {MODEL_DIR}/",
    bad="exec python3 /home/ma-user/work/serve.py, in run.sh",
)
def mounts(context: Context) -> Finding:
    """Look for these folders in the command, the environment, the boot files and the code."""
    image = context.image
    places = {
        "the command": " ".join(image.command),
        **{f"ENV {name}": value for name, value in image.environment.items()},
    }
    paths = (boot_path(image), BOOT_FILE.value, INFER_BOOT_FILE, SERVICE_FILE)
    for path in dict.fromkeys(paths):
        content = context.read_file(path) if path else None
        places[path] = content.decode(errors="replace") if content else ""
    pattern = re.compile("|".join(f"{re.escape(mount)}(?![\\w-])" for mount in NOTEBOOK_MOUNTS))
    found = [
        f"{place}: {line.strip()[:160]}"
        for place, text in places.items()
        for line in text.splitlines()
        if pattern.search(line) and not line.lstrip().startswith("#")
    ]
    return failed(found[0], "\n".join(found[:10])) if found else passed("nothing there is named")


@rule(
    id="notebook.service-file",
    title="The inference code is where the preset image looks for it",
    why="The image's own server imports this file; without it the service never becomes ready.",
    severity=Severity.ERROR,
    profiles=SAVED,
    needs=Needs.FILES,
    expected=SERVICE_FILE,
    source=NOTEBOOK_INFERENCE,
    remediation=f"Copy the content of the model package, not its folder, to {MODEL_DIR}.",
    good=f"{SERVICE_FILE}",
    bad=f"{MODEL_DIR}/model/customize_service.py",
)
def service_file(context: Context) -> Finding:
    """Look the file up, and that it is Python."""
    content = context.read_file(SERVICE_FILE)
    if content is None:
        return failed("not there")
    try:
        parse_source(content)
    except (SyntaxError, ValueError) as error:
        return failed(f"no Python: {error}")
    return passed(f"{len(content)} bytes")


@rule(
    id="notebook.base-class",
    title="The inference code derives from a base class, imported from its own module",
    why="The platform finds the service by its base class, and each engine has its own module.",
    severity=Severity.ERROR,
    profiles=SAVED,
    needs=Needs.FILES,
    requires=("notebook.service-file",),
    expected=", ".join(f"{name} of model_service.{module}" for name, module in MODULES.items()),
    source=INFERENCE_CODE,
    remediation="Import the class from the module that belongs to the engine of the image.",
    good="from model_service.pytorch_model_service import PTServingBaseService",
    bad="from model_service.tfserving_model_service import PTServingBaseService",
)
def base_class(context: Context) -> Finding:
    """Read the imports and the classes; the code is never run."""
    tree = parse_source(context.read_file(SERVICE_FILE) or b"")
    imported = {
        (alias.asname or alias.name): (node.module or "", alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    bases = [
        ast.unparse(base)
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
        for base in node.bases
    ]
    derived = [base for base in bases if base in BASE_CLASSES or base in imported]
    for base in derived:
        module, name = imported.get(base, ("", base))
        expected = f"model_service.{MODULES[name]}" if name in MODULES else module
        if module != expected and name in MODULES:
            return failed(f"{name} is imported from {module or 'nowhere'}, not from {expected}")
    if not any(imported.get(base, ("", base))[1] in BASE_CLASSES for base in derived):
        return failed("no class derives from a base class of model_service", ", ".join(bases))
    return passed(", ".join(dict.fromkeys(derived)))


@rule(
    id="notebook.logging",
    title="The inference code shows its INFO lines",
    why="Preset images show WARNING and above; what the code logs below that is never seen.",
    severity=Severity.WARNING,
    profiles=SAVED,
    needs=Needs.FILES,
    requires=("notebook.service-file",),
    expected="logging.basicConfig(level=logging.INFO)",
    source=LOG_LEVEL,
    remediation="Call logging.basicConfig(level=logging.INFO) at the top of the code.",
    good="logging.basicConfig(level=logging.INFO)",
    bad='logging.info("loaded") and no level',
)
def logging_level(context: Context) -> Finding:
    """Look for a level, where the code logs below WARNING at all."""
    text = (context.read_file(SERVICE_FILE) or b"").decode(errors="replace")
    if not re.search(r"\.(info|debug)\(", text):
        return not_checked("the code logs nothing below WARNING")
    has_level = re.search(r"basicConfig\([^)]*level|\.setLevel\(", text)
    return passed("a level is set") if has_level else failed("no level is set")
