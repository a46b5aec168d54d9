"""``import error_code``: the errors that the platform's images answer with."""

from __future__ import annotations


class ModelArtsError(Exception):
    """The base; ``code`` and ``msg`` are what the answer holds as ``erno`` and ``msg``."""

    code_key = "erno"
    msg_key = "msg"
    code = ""
    msg = ""

    def to_dict(self) -> dict[str, str]:
        """Return the two members of the answer."""
        return {self.code_key: self.code, self.msg_key: self.msg}

    def __str__(self) -> str:
        return f"{type(self).__name__}: ({self.code}, {self.msg})"


class MR0100(ModelArtsError):
    """No error."""

    code = "MR.0100"
    msg = "Succeeded"


class MR0101(ModelArtsError):
    """The request cannot be read."""

    code = "MR.0101"
    msg = "The input parameter is invalid"


class MR0105(ModelArtsError):
    """The service code raised."""

    code = "MR.0105"
    msg = "Recognition failed"
