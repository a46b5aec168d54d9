"""pip, as if another Python ran it: ``python -m custom_image.wheelhouse.target_pip MARKERS ...``.

pip finds wheels for any Python that its options name, but reads environment markers, such as
``python_version < "3.8"``, with the Python that runs it: https://github.com/pypa/pip/issues/11664
"""

from __future__ import annotations

import json
import sys


def main(markers: str, *arguments: str) -> int:
    """Run pip with these markers, a JSON object, in place of its own."""
    from pip._internal.cli.main import main as run_pip
    from pip._vendor.packaging import markers as pips

    environment = json.loads(markers)
    vars(pips)["default_environment"] = lambda: dict(environment)
    return run_pip(list(arguments))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
