"""The weights in the image."""

from __future__ import annotations

from typing import Final

from custom_image.rules import (
    ALL_PROFILES,
    Context,
    Finding,
    Needs,
    Severity,
    failed,
    not_checked,
    passed,
    rule,
    warned,
)
from custom_image.scanners.pickles import FoundPickle, PickleReader
from custom_image.specification import MODEL_DIR, Source

PICKLE_SECURITY: Final = Source("picklescan", "https://github.com/mmaitre314/picklescan")
SHOWN: Final = 50
NAMES_SHOWN: Final = 8
_OWN: Final = MODEL_DIR.value.removeprefix("/").encode()


@rule(
    id="model.pickle",
    title="No weights run commands when they are loaded",
    why="Loading a pickle runs whatever it names, with all rights of the service.",
    severity=Severity.ERROR,
    profiles=ALL_PROFILES,
    needs=Needs.CONTENTS,
    expected="no pickle that imports more than tensors",
    source=PICKLE_SECURITY,
    remediation="Store weights as safetensors or ONNX; where a pickle cannot be avoided, make "
    "it anew "
    "from a source that is trusted, and load it with weights_only=True.",
    good="model.safetensors, model.onnx, a state_dict of tensors in model.pt",
    bad="a .pkl that names os.system",
)
def pickle(context: Context) -> Finding:
    """Judge the names that pickles import; their opcodes are read, nothing is loaded."""
    contents = context.contents
    reader = contents.reader(PickleReader)
    if reader.problem:
        return not_checked(reader.problem)
    # The model's own before what packages bring along, such as the data of their tests.
    pickles = sorted(reader.found, key=lambda found: not found.path.startswith(_OWN))
    lines = {
        id(found): f"{contents.position(found.layer)}, /{found.path.decode(errors='replace')}: "
        f"{_names(found)}"
        for found in pickles
    }
    bad = [lines[id(found)] for found in pickles if found.dangerous]
    doubtful = [lines[id(f)] for f in pickles if not f.dangerous and (f.unknown or f.unread)]
    if bad:
        return failed(bad[0], "\n".join((bad + doubtful)[:SHOWN]))
    if doubtful:
        return warned(doubtful[0], "\n".join(doubtful[:SHOWN]))
    return passed(f"{len(lines)} pickles" if lines else "no pickle", "\n".join(lines.values()))


def _names(found: FoundPickle) -> str:
    names = found.dangerous or found.unknown
    shown = ", ".join(names[:NAMES_SHOWN]) + (", ..." if len(names) > NAMES_SHOWN else "")
    if found.dangerous:
        return f"runs {shown}"
    parts = [f"imports {shown}" if shown else "", f"not read whole: {found.unread}"]
    return "; ".join(part for part in parts[: 2 if found.unread else 1] if part) or "tensors alone"
