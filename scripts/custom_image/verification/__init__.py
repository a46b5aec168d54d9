"""Judging a target by the rules of the platform: ``verify`` is the whole of it.

`targets` opens what the user named (`target` says what that is, `folders` are one kind of it),
`session` is what rules see of it: its `config`, and the `instances` that run meanwhile. `run`
decides which rule is judged when, `progress` shows what is going on.
"""

from custom_image.verification.progress import Watcher
from custom_image.verification.run import verify
from custom_image.verification.targets import Target, open_target

__all__ = ["Target", "Watcher", "open_target", "verify"]
