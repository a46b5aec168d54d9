"""Everything that can go wrong, in one tree.

    CustomImageError                exit 1
    ├── UsageError                  exit 2   a setting, a parameter or an argument
    │   └── ExtraMissing                     of this distribution: see extras
    ├── DatasetError                         MNIST files
    ├── ModelError                           weights, training, export
    ├── PackageError                         model package and config.json
    ├── ArchiveError                         the archive of an image: damaged, or made to harm
    ├── BuildFailed                          with the tail of the build log
    ├── ServiceNotReady                      with the tail of the service's log
    ├── NotebookFailed                       a notebook run stopped at a cell
    ├── VerificationFailed                   with the report
    ├── CloudRefused                         the platform's API says no, in its words
    └── Unavailable                 exit 3   an engine, a registry or an API does not answer
        └── ConnectionLost                   to a build server; what was started there goes on

A message says what was expected, what was found, where, and what to do, in at most three lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from custom_image.report import Report


class CustomImageError(Exception):
    """Base of every error this package raises on purpose."""

    exit_code = 1


class UsageError(CustomImageError):
    """A setting, a notebook parameter or a command line argument cannot be used."""

    exit_code = 2


class DatasetError(CustomImageError):
    """MNIST files are missing, damaged, or not MNIST."""


class ModelError(CustomImageError):
    """Weights cannot be used, or training or export missed its mark."""


class PackageError(CustomImageError):
    """The model package or its config.json breaks a rule of the platform."""


class ArchiveError(CustomImageError):
    """The archive of an image is damaged, is none, or is made to harm whoever reads it."""


class BuildFailed(CustomImageError):
    """The engine could not build the image.

    Attributes:
        log: the whole build log, one line an element.
    """

    def __init__(self, message: str, log: list[str]) -> None:
        tail = "\n".join(f"  | {line}" for line in log[-15:])
        super().__init__(f"{message}\n{tail}" if tail else message)
        self.log = log


class ServiceNotReady(CustomImageError):
    """A started service never became ready.

    Attributes:
        log: what the service wrote to its standard output and error.
    """

    def __init__(self, message: str, log: str) -> None:
        tail = "\n".join(f"  | {line}" for line in log.splitlines()[-15:])
        super().__init__(f"{message}\n{tail}" if tail else f"{message}\n  | (its log is empty)")
        self.log = log


class NotebookFailed(CustomImageError):
    """A notebook run stopped at a cell."""


class VerificationFailed(CustomImageError):
    """At least one rule of the platform is broken.

    Attributes:
        report: the whole report, passed rules included.
    """

    def __init__(self, message: str, report: Report) -> None:
        super().__init__(message)
        self.report = report


class CloudRefused(CustomImageError):
    """ModelArts or SWR answered, and refused; the message quotes it."""


class Unavailable(CustomImageError):
    """An engine, a registry or an API does not answer."""

    exit_code = 3


class ConnectionLost(Unavailable):
    """The SSH connection to a build server broke off; what was started there goes on."""
