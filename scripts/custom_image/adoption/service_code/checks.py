"""Checks of a service's code by reading: what cannot be served, and hints."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from custom_image.adoption.changes import ChangeLog, Kind
from custom_image.adoption.config_json.config import Inputs
from custom_image.adoption.service_code.modules import Code, Import, Module
from custom_image.errors import PackageError

SERVED_BASES: Final = (
    "OnnxServingBaseService",
    "PTServingBaseService",
    "TfServingBaseService",
    "XgSklServingBaseService",
    "SingleNodeService",
)
_BASES: Final = frozenset(SERVED_BASES)
# Of the platform's table; no image that is made here has the engine.
ABSENT_BASES: Final = {
    "SparkServingBaseService": "Spark",
    "CaffeBaseService": "Caffe",
    "MXNetBaseService": "MXNet",
    "HiaiBaseService": "HiAI",
}
# Their constructor gets the path alone.
_ONE_ARGUMENT_BASES: Final = ("XgSklServingBaseService", "SparkServingBaseService")
_PICKLE_LOADERS: Final = ("pickle.load", "pickle.loads", "cPickle.load", "dill.load", "dill.loads")
_COMMANDS: Final = (
    *("os.system", "os.popen", "subprocess.run", "subprocess.call", "subprocess.check_call"),
    *("subprocess.check_output", "subprocess.Popen"),
)
STEPS: Final = ("__init__", "_preprocess", "_inference", "_postprocess", "inference")
_FETCHERS: Final = ("urllib", "urllib2", "requests", "httpx", "aiohttp", "wget", "gdown")
_HUB_CALLS: Final = ("hub.load", "load_state_dict_from_url", "snapshot_download", "hf_hub_download")
_WINDOWS: Final = ("imshow", "waitKey", "namedWindow", "destroyAllWindows")


def check_service(code: Code, where: str) -> None:
    """Refuse a service that no base class of the runtime serves.

    Raises:
        PackageError: its engine is in no image, or there is no service class; with what to do.
    """
    module = code.service
    check_engine(module)
    served = served_classes(module)
    if len(served) > 1:
        places = ", ".join(f"{name} (line {line})" for name, line in served.items())
        raise PackageError(
            f"{where}: expected one class to serve, found {len(served)}: {places}.\n"
            "Of a class and its subclass the subclass is served; move the others elsewhere."
        )
    others = [n for m in code.modules for n in ast.walk(m.tree) if isinstance(n, ast.ClassDef)]
    if not served and not _takes_all(module) and not any(_bases(c) & _BASES for c in others):
        raise PackageError(
            f"{where}: has no class on a base class of model_service.\n"
            f"Derive the service from one of {', '.join(SERVED_BASES)}."
        )


def check_engine(module: Module) -> None:
    """Refuse a base class whose engine no image has.

    Raises:
        PackageError: with its line and what to do.
    """
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom):
            for name in (alias.name for alias in node.names if alias.name in ABSENT_BASES):
                engine = ABSENT_BASES[name]
                raise PackageError(
                    f"{module.place(node)}: derives from {name}, and no image has {engine}.\n"
                    "Export the model to ONNX and derive from OnnxServingBaseService, or build "
                    f"from a Dockerfile of your own that has {engine} (--context)."
                )


def served_classes(module: Module) -> dict[str, int]:
    """Return the classes on a base that have no subclass there, each with its line."""
    known = {*SERVED_BASES}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom):
            known |= {a.asname for a in node.names if a.name in SERVED_BASES and a.asname}
    classes = [n for n in ast.walk(module.tree) if isinstance(n, ast.ClassDef)]
    for _ in classes:  # a base may stand below, as a class in an `else`
        known |= {c.name for c in classes if _bases(c) & known}
    used = set().union(*(_bases(c) for c in classes)) if classes else set()
    return {c.name: c.lineno for c in classes if c.name in known and c.name not in used}


def _takes_all(module: Module) -> bool:
    """Tell whether a base may hide behind a star."""
    return any(
        isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
        for node in ast.walk(module.tree)
    )


def _bases(node: ast.ClassDef) -> set[str]:
    return {ast.unparse(base).rpartition(".")[2] for base in node.bases}


def note_constructor(code: Code, log: ChangeLog) -> None:
    """Note a constructor that takes less than the platform hands over."""
    for node in ast.walk(code.service.tree):
        if not isinstance(node, ast.ClassDef) or not _bases(node) & _BASES:
            continue
        if _bases(node) & {*_ONE_ARGUMENT_BASES}:
            continue
        for method in node.body:
            if isinstance(method, ast.FunctionDef) and method.name == "__init__":
                arguments = method.args
                names = [a.arg for a in [*arguments.posonlyargs, *arguments.args]][1:]
                if len(names) == 1 and not arguments.vararg:
                    why = (
                        "the platform hands over model_name and model_path; the runtime in the "
                        "image hands over by name what is asked for"
                    )
                    found = f"__init__(self, {names[0]})"
                    log.add(Kind.WARNING, code.service.place(method), why, found)


def note_dangers(code: Code, log: ChangeLog) -> None:
    """Note uploads that are unpickled, and what is fetched when the model is loaded."""
    for module in code.modules:
        uploads = _upload_functions(module)
        for node in ast.walk(module.tree):
            if not isinstance(node, ast.Call):
                continue
            called = ast.unparse(node.func)
            if called in _PICKLE_LOADERS and any(_within(node, f) for f in uploads):
                why = "a pickle runs what it says: whoever may call the service may run code in it"
                log.add(Kind.WARNING, module.place(node), why, ast.unparse(node))
            elif called in (
                "os.system",
                "subprocess.run",
                "subprocess.call",
                "subprocess.check_call",
            ):
                if "pip" in ast.unparse(node) and "install" in ast.unparse(node):
                    why = "no index is reached from the platform; name it in the requirements"
                    log.add(Kind.WARNING, module.place(node), why, ast.unparse(node))
            elif called.endswith(_HUB_CALLS) or _is_pretrained(node, called):
                why = "is fetched when the model is loaded; put the file into the package"
                log.add(Kind.WARNING, module.place(node), why, ast.unparse(node)[:80])
        if _imports_any(module, _FETCHERS):
            for node, url in _urls(module.tree):
                host = urlsplit(url).hostname
                why = f"{host} may be out of reach there; put what it gives into the package"
                log.add(Kind.WARNING, module.place(node), why, url)


def installs(code: Code) -> Iterator[tuple[str, str]]:
    """Yield the place and the words of each command that the code runs with pip."""
    for module in code.modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in _COMMANDS and node.args:
                words = [
                    str(part.value)
                    for part in ast.walk(node.args[0])
                    if isinstance(part, ast.Constant) and isinstance(part.value, str)
                ]
                yield module.place(node), " ".join(words)


def _upload_functions(module: Module) -> list[ast.AST]:
    names = ("_preprocess", "preprocess", "inference", "_inference", "_data")
    return [n for n in ast.walk(module.tree) if isinstance(n, ast.FunctionDef) and n.name in names]


def _within(node: ast.AST, outer: ast.AST) -> bool:
    return any(inner is node for inner in ast.walk(outer))


def _is_pretrained(node: ast.Call, called: str) -> bool:
    if called.endswith(".from_pretrained") and node.args:
        first = node.args[0]
        return (
            isinstance(first, ast.Constant)
            and isinstance(first.value, str)
            and not first.value.startswith((".", "/"))
        )
    return any(
        k.arg == "pretrained" and isinstance(k.value, ast.Constant) and k.value.value is True
        for k in node.keywords
    )


def _imports_any(module: Module, names: tuple[str, ...]) -> bool:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found = [node.module or ""]
        else:
            continue
        if any(name.partition(".")[0] in names for name in found):
            return True
    return False


def _urls(tree: ast.Module) -> Iterator[tuple[ast.AST, str]]:
    texts = {id(s.value) for s in ast.walk(tree) if isinstance(s, ast.Expr)}  # docstrings
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) and id(node) not in texts else None
        if isinstance(text, str) and re.match(r"https?://[\w.-]+", text):
            yield node, text


def engines_of_bases(code: Code, *, has_onnx: bool) -> tuple[Import, ...]:
    """Return the engines that the base classes import themselves when they predict.

    ``has_onnx`` says whether the package holds a network for ONNX Runtime.
    """
    found = []
    for node in ast.walk(code.service.tree):
        if isinstance(node, ast.ImportFrom) and has_onnx:
            if any(alias.name == "OnnxServingBaseService" for alias in node.names):
                found.append(Import("onnxruntime", code.service.place(node), False, True))
        elif isinstance(node, ast.ClassDef) and "TfServingBaseService" in _bases(node):
            own = {part.name for part in node.body if isinstance(part, ast.FunctionDef)}
            if not own & {"_inference", "inference"}:
                found.append(Import("tensorflow", code.service.place(node), False, True))
    return tuple(found)


def shows_a_window(code: Code) -> bool:
    """Tell whether the code opens windows with OpenCV."""
    return any(
        isinstance(node, ast.Attribute)
        and node.attr in _WINDOWS
        and ast.unparse(node.value) == "cv2"
        for module in code.modules
        for node in ast.walk(module.tree)
    )


def find_inputs(code: Code) -> Inputs:
    """Return what `_preprocess` reads of a request, as far as its text shows it."""
    for function in _upload_functions(code.service):
        assert isinstance(function, ast.FunctionDef)
        names = [a.arg for a in function.args.args]
        if function.name not in ("_preprocess", "preprocess") or len(names) < 2:
            continue
        data = names[1]
        parts = [
            node.slice.value
            for node in ast.walk(function)
            if isinstance(node, ast.Subscript)
            and isinstance(node.value, ast.Name)
            and node.value.id == data
            and isinstance(node.slice, ast.Constant)
            and isinstance(node.slice.value, str)
        ]
        text = ast.unparse(function)
        uploads = bool(re.search(r"\.(items|values)\(\)", text)) and bool(
            re.search(r"Image\.open|imdecode|\.read\(|getvalue\(|frombuffer|read_csv", text)
        )
        return Inputs(tuple(dict.fromkeys(parts)), uploads)
    return Inputs()
