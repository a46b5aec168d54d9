"""Patterns of secrets: in a file, in a variable, in a build step.

Patterns name what they found and never quote it: a report is copied into tickets and logs. Every
repetition in them is bounded: a file made to harm would take hours otherwise. By hand for both: the
scanners of others quote what they find, or read files only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Pattern:
    """One kind of secret.

    Attributes:
        what: it is called in reports.
        hints: one of them is in every match; looking for these first is ten times faster.
        in_packages: whether it is one also where a package brought it: test suites of published
            packages are full of private keys that guard nothing.
    """

    what: str
    hints: tuple[bytes, ...]
    regex: re.Pattern[bytes]
    in_packages: bool = True


def _pattern(what: str, hints: str, regex: str, *, in_packages: bool = True) -> Pattern:
    encoded = tuple(hint.encode() for hint in hints.split())
    return Pattern(what, encoded, re.compile(regex.encode()), in_packages)


_QUOTED: Final = r"""["']?\s{0,9}[:=]\s{0,9}["']?"""
PATTERNS: Final = (
    _pattern(
        "a private key",
        "PRIVATE",
        r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,4}PRIVATE KEY(?: BLOCK)?-----(?:\\n|[\s\"']){1,9}"
        r"(?:[A-Za-z-]{1,40}: [^\n]{0,200}\n{1,3}){0,9}[A-Za-z0-9+/=]{40}",
        in_packages=False,
    ),
    _pattern("an access key of AWS", "AKIA ASIA", r"\b(?:AKIA|ASIA)(?!.{9}EXAMPLE)[A-Z0-9]{16}\b"),
    _pattern(
        "an access key (AK)",
        "ACCESS access Access _AK _ak",
        rf"(?i)\b(?:\w{{1,40}}_ak|(?:\w{{1,40}}[_-])?access[_-]?key(?:[_-]?id)?){_QUOTED}"
        r"(?-i:(?=[A-Z]{0,19}[0-9])(?!.{13}EXAMPLE)[A-Z0-9]{20})\b",
    ),
    _pattern(
        "a secret key (SK)",
        "SECRET secret Secret _SK _sk",
        rf"(?i)\b(?:\w{{1,40}}_sk|(?:\w{{1,40}}[_-])?secret[_-]?(?:access[_-]?)?key){_QUOTED}"
        r"(?=[A-Za-z+/]{0,39}[0-9])(?![A-Za-z0-9/+]{0,33}EXAMPLE)[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+])",
    ),
    _pattern("an access key of Alibaba Cloud", "LTAI", r"\bLTAI[A-Za-z0-9]{12,20}\b"),
    _pattern("a key of Google Cloud", "AIza", r"\bAIza[A-Za-z0-9_-]{35}\b"),
    _pattern("a token of GitHub", "ghp_ gho_ ghu_ ghs_ ghr_", r"\bgh[pousr]_[A-Za-z0-9]{36}"),
    _pattern("a token of GitHub", "github_pat_", r"\bgithub_pat_[A-Za-z0-9_]{50}"),
    _pattern("a token of GitLab", "glpat-", r"\bglpat-[A-Za-z0-9_-]{20}"),
    _pattern("a token of Hugging Face", "hf_", r"\bhf_[A-Za-z]{34}\b"),
    _pattern("a token of Slack", "xox", r"\bxox[abprs]-[0-9]{6,}-[A-Za-z0-9-]{10}"),
    _pattern("a token of PyPI", "pypi-AgE", r"\bpypi-AgE[A-Za-z0-9_-]{50}"),
    _pattern("a token of npm", "npm_", r"\bnpm_[A-Za-z0-9]{36}\b"),
    _pattern("a key of OpenAI", "T3BlbkFJ", r"\bsk-[A-Za-z0-9_-]{0,99}T3BlbkFJ[A-Za-z0-9_-]{10}"),
)
_PASSWORD_IN_URL: Final = re.compile(
    rb"\b[a-z][a-z0-9+.-]{0,14}://[^\s/:@'\"]{0,99}:[^\s/@'\"${}<]{1,200}@[\w.-]"
)
# A token in place of the user's name, as hosts of code and of packages take it; not a name.
_TOKEN_IN_URL: Final = re.compile(
    rb"\bhttps?://(?=[A-Za-z_-]{0,99}[0-9])[A-Za-z0-9_-]{20,200}(?::(?:x-oauth-basic)?)?@[\w.-]"
)
_PASSWORD_OPTION: Final = re.compile(
    rb"(?i)(?:^|\s)--?(?:password|passwd|token)[= ]['\"]?[^\s'\"$-]"
)
_HEADER: Final = re.compile(
    rb"(?i)authorization:\s{0,9}(?:bearer|basic|token)\s{1,9}[A-Za-z0-9+/=_.-]{8}"
)
_CREDENTIALS_IN_URL: Final = re.compile(_PASSWORD_IN_URL.pattern + b"|" + _TOKEN_IN_URL.pattern)
# Files that hold secrets by their nature: the end of the path, and what of it is one.
NAMED_FILES: Final = (
    (r"\.netrc|_netrc", "the password of a machine", re.compile(rb"\bpassword\s+\S")),
    (r"pip\.conf|pip\.ini|\.condarc|sources\.list|[^/]+\.sources", "a URL with a password", None),
    (r"\.pypirc", "a password", re.compile(rb"(?m)^[ \t]{0,9}password[ \t]{0,9}[=:][ \t]{0,9}\S")),
    (r"\.npmrc", "a token of npm", re.compile(rb"_auth(?:Token)?\s*=\s*[^\s$]")),
    (r"\.git-credentials|\.git/config|\.gitconfig", "a URL with a password", None),
    (r"\.docker/config\.json|\.dockercfg", "the login of a registry",
     re.compile(rb'"(?:auth|identitytoken)"\s*:\s*"[^"]{4}')),
    (r"\.aws/credentials", "a secret key of AWS", re.compile(rb"aws_secret_access_key\s*=\s*\S")),
    (r"\.obsutilconfig", "a secret key of OBS", re.compile(rb"(?m)^sk=\S")),
    (r"\.huaweicloud/credentials", "a secret key of Huawei Cloud",
     re.compile(rb"(?m)^\s*sk\s*=\s*\S")),
    (r"\.kube/config", "the login of a cluster",
     re.compile(rb"(?:client-key-data|token|password):\s*\S")),
    (r"huggingface/token", "a token of Hugging Face", re.compile(rb"\S")),
    (r"\.(?:bash|sh|ash|zsh|python|psql|mysql)_history", "the history of a shell",
     re.compile(rb"\S")),
    (r"etc/shadow", "the hash of a password", re.compile(rb"(?m)^[^:\s]+:\$[0-9a-z]+\$")),
)  # fmt: skip
_NAMED: Final = tuple(
    (re.compile(rf"(?:^|/)(?:{name})$".encode()), what, regex or _CREDENTIALS_IN_URL)
    for name, what, regex in NAMED_FILES
)
_PACKAGES: Final = re.compile(
    rb"(?:^|/)(?:site-packages|dist-packages|node_modules|conda/pkgs|usr/share/doc|lib/python3[^/]*)/"
)
_SECRET_NAME: Final = re.compile(
    r"(?i)(?:^|_)(?:pass|passw(?:or)?d|secrets?|tokens?|credentials?|ak|sk|apikey|auth)(?:$|_(?!file))"
    r"|(?:api|access|secret|private|account)_?key"
)
_HARMLESS_VALUE: Final = re.compile(
    r"(?i)|[/$<*.].*|[0-9.]+|true|false|yes|no|none|null|x+|changeme"
)
_ASSIGNMENT: Final = re.compile(
    r"""(?<![\w$-])([A-Za-z_]\w*)=("[^"]{0,999}"|'[^']{0,999}'|[^\s;&|)"']+)"""
)


def secrets_in_file(path: bytes, content: bytes) -> Iterator[tuple[str, int]]:
    """Yield what a file holds, and the line in which it stands."""
    for name, what, regex in _NAMED:
        if name.search(path) and (match := regex.search(content)):
            yield what, content.count(b"\n", 0, match.start()) + 1
    for what, start in _matches(path, content):
        yield what, content.count(b"\n", 0, start) + 1


def _matches(path: bytes, content: bytes) -> Iterator[tuple[str, int]]:
    for pattern in PATTERNS:
        if any(hint in content for hint in pattern.hints) and (
            pattern.in_packages or not _PACKAGES.search(path)
        ):
            match = pattern.regex.search(content)
            if match:
                yield pattern.what, match.start()


def is_secret_name(path: bytes) -> bool:
    """Tell whether the name of a file says that it may hold a secret, whatever it looks like."""
    return any(name.search(path) for name, _, _ in _NAMED)


def is_secret(name: str, value: str) -> bool:
    """Tell whether a variable holds a secret, by its name, or by what its value looks like."""
    value = value.strip("\"'")
    if secret_in_text(value):
        return True
    return bool(_SECRET_NAME.search(name)) and not _HARMLESS_VALUE.fullmatch(value)


def secret_in_text(text: str) -> str:
    """Return what kind of secret stands in a line of text; empty where none does."""
    data = text.encode(errors="replace")
    for what, regex in (
        ("a URL with a password", _PASSWORD_IN_URL),
        ("a URL with a token", _TOKEN_IN_URL),
        ("a password as an option", _PASSWORD_OPTION),
        ("an Authorization header", _HEADER),
    ):
        if regex.search(data):
            return what
    return next((what for what, _ in _matches(b"", data)), "")


def assignments(step: str) -> list[tuple[str, str]]:
    """Return the variables that a build step sets: ``NAME=value``, quoted or not."""
    return [(match[1], match[2]) for match in _ASSIGNMENT.finditer(step)]
