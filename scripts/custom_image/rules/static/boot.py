"""The command that the image starts with, and the file that it names."""

from __future__ import annotations

import posixpath
import re
import shlex

from custom_image.engines import ImageFacts
from custom_image.rules import (
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
from custom_image.rules.static.accounts import can_read, start_user
from custom_image.rules.static.dockerfile import judged
from custom_image.scanners.linters import NotLinted, shellcheck
from custom_image.specification import BOOT_FILE, SPECIFICATIONS, Source

SHELLCHECK = Source("ShellCheck: checks", "https://www.shellcheck.net/wiki/")
CALLED = re.compile(r"""(?<![\w./-])((?:\$\{?\w+\}?/|\.{0,2}/)?[\w./-]+\.(?:sh|bash))(?![\w.])""")
WRAPPERS = ("tini", "dumb-init", "docker-init", "catatonit", "env", "exec")
INTERPRETERS = re.compile(r"(ba|da|a)?sh|python[0-9.]*|perl|node|java")


@rule(
    id="boot.command",
    title="The image says what it starts with",
    why="Without CMD or ENTRYPOINT the container cannot be started, unless the model's form does.",
    severity=Severity.ERROR,
    needs=Needs.IMAGE,
    expected="CMD or ENTRYPOINT",
    source=SPECIFICATIONS,
    remediation=f'Add CMD ["sh", "{BOOT_FILE}"] to the Dockerfile.',
    good='CMD ["sh", "/home/run.sh"]',
    bad="a Dockerfile without CMD and ENTRYPOINT",
)
def command(context: Context) -> Finding:
    """Look for CMD and ENTRYPOINT."""
    if not context.image.command:
        return failed("neither CMD nor ENTRYPOINT")
    return passed(shlex.join(context.image.command))


@rule(
    id="boot.exec-form",
    title="The command is in exec form, so that signals reach it",
    why="In shell form a shell is process 1, and may keep SIGTERM from the service.",
    severity=Severity.WARNING,
    needs=Needs.IMAGE,
    requires=("boot.command",),
    expected="exec form",
    source=SPECIFICATIONS,
    remediation=f'Write CMD as a JSON array, for example CMD ["sh", "{BOOT_FILE}"].',
    good='CMD ["sh", "/home/run.sh"]',
    bad="CMD sh /home/run.sh",
)
def exec_form(context: Context) -> Finding:
    """Look for `/bin/sh -c`, which is how shell form is recorded."""
    shown = shlex.join(context.image.command)
    return failed(f"shell form: {shown}") if context.image.shell_form else passed("exec form")


@rule(
    id="boot.file",
    title="The file that the command names exists, and the start user may read it",
    why="Otherwise the container ends at once, and the deployment fails with an empty log.",
    severity=Severity.ERROR,
    needs=Needs.IMAGE | Needs.FILES,
    requires=("boot.command",),
    expected="there and readable",
    source=SPECIFICATIONS,
    remediation="COPY the file to that path with mode 755, or correct the path in CMD.",
    good="COPY --chown=1000:100 run.sh /home/run.sh",
    bad="CMD names /home/start.sh, and there is none",
)
def file(context: Context) -> Finding:
    """Look the file up in the image, and its mode as the user that the image starts as."""
    path = boot_path(context.image)
    if not path:
        return not_checked(f"`{shlex.join(context.image.command)}` names no file")
    found = context.find_file(path)
    if found is None:
        return failed(f"no {path} in the image")
    user = start_user(context)
    if not can_read(user, found):
        return failed(
            f"{path} has mode {found.mode:o}, owner {found.uid}:{found.gid}; the image starts "
            f"as {user}"
        )
    return passed(f"{path}, {len(found.content)} bytes, mode {found.mode:o}")


@rule(
    id="boot.text",
    title="The boot file is text that a shell understands",
    why="A carriage return or a byte order mark, left by an editor on Windows, breaks each line.",
    severity=Severity.ERROR,
    needs=Needs.FILES,
    requires=("boot.file",),
    expected="LF line ends, no byte order mark, a shebang",
    source=SPECIFICATIONS,
    remediation="Save it with LF line ends and without a byte order mark (`dos2unix run.sh`).",
    good="#!/bin/sh in the first line, LF behind each",
    bad="a file that an editor on Windows saved: #!/bin/sh and a carriage return",
)
def text(context: Context) -> Finding:
    """Read the bytes of the file, where it is a shell script."""
    path, is_direct = _script(context)
    content = context.read_file(path) if path else None
    if content is None:
        return not_checked("no boot file to read")
    has_shebang = content.startswith(b"#!")
    if not has_shebang and not path.endswith(".sh"):
        return not_checked(f"{path} is no shell script")
    if content.startswith(b"\xef\xbb\xbf"):
        return failed(f"{path} starts with a byte order mark")
    if b"\r" in content:
        line = content[: content.index(b"\r")].count(b"\n") + 1
        return failed(f"{path} has a carriage return in line {line}")
    if not has_shebang:
        judge = failed if is_direct else warned
        return judge(f"{path} has no shebang", remediation="Start it with the line #!/bin/sh.")
    return passed(f"{path}: {content.splitlines()[0].decode(errors='replace')}")


@rule(
    id="boot.scripts",
    title="The scripts that the boot file calls are text that a shell understands",
    why="`not found` for a script that is there: a carriage return is a part of its interpreter.",
    severity=Severity.ERROR,
    needs=Needs.FILES,
    requires=("boot.file", "boot.text"),
    expected="LF line ends",
    source=SPECIFICATIONS,
    remediation="Save them with LF line ends (`dos2unix`), and keep them so: *.sh text eol=lf in "
    ".gitattributes.",
    good="every script ends its lines with LF",
    bad="run.sh with LF, that calls start.sh with CR LF",
)
def scripts(context: Context) -> Finding:
    """Read the scripts whose paths stand in the boot file."""
    path, _ = _script(context)
    content = context.read_file(path) if path else None
    if content is None:
        return not_checked("no boot file to read")
    seen = []
    for word in CALLED.findall(content.decode(errors="replace")):
        here = posixpath.dirname(path)
        word = re.sub(r"^\$(\{?\w+\}?)/", f"{here}/", word)
        called = posixpath.normpath(posixpath.join(here, word))
        text = context.read_file(called) if called.startswith("/") else None
        if text is None or b"\0" in text[:1024]:
            continue
        seen.append(called)
        if b"\r\n" in text:
            return failed(f"{called} has a carriage return in its first lines", f"called by {path}")
    return passed(", ".join(seen) or "it calls none")


@rule(
    id="boot.lint",
    title="shellcheck has no remark on the boot file",
    why="A word that falls apart or a trap that never fires is seen on the platform only.",
    severity=Severity.WARNING,
    needs=Needs.FILES,
    requires=("boot.file", "boot.text"),
    expected="no remark",
    source=SHELLCHECK,
    remediation="Change the lines, or write why not above them: # shellcheck disable=SC2086",
    good='[ "$pid" != "" ] && kill "$pid"',
    bad='[ $pid != "" ] && kill $pid',
)
def lint(context: Context) -> Finding:
    """Give the boot file to shellcheck, where it is a script of a shell that it knows."""
    path, _ = _script(context)
    content = context.read_file(path) if path else None
    if content is None:
        return not_checked("no boot file to read")
    shebang = content.split(b"\n", 1)[0].decode(errors="replace")
    named = re.search(r"\b(bash|dash|ksh|sh)\b", shebang if shebang.startswith("#!") else "sh")
    if named is None or not (path.endswith(".sh") or shebang.startswith("#!")):
        return not_checked(f"{path} is no script that shellcheck knows")
    try:
        return judged(shellcheck(content, named[1]))
    except NotLinted as error:
        return not_checked(str(error))


def boot_path(image: ImageFacts) -> str:
    """Return the absolute path of the file that the command runs; empty where it names none.

    Only plain commands are understood: a program, or an interpreter and its script, behind any
    number of init programs such as tini.
    """
    words = list(image.command)
    if image.shell_form:
        try:
            words = shlex.split(words[-1])
        except ValueError:
            return ""
        if any(set(word) & set("&|;<>$`()") for word in words):
            return ""
    while words and (_name(words[0]) in WRAPPERS or words[0].startswith("-")):
        words.pop(0)
    if words and INTERPRETERS.fullmatch(_name(words[0])):
        words.pop(0)
        while words and words[0].startswith("-"):
            if words.pop(0) in ("-c", "-m", "-jar"):
                return ""
    elif words and "/" not in words[0]:
        return ""  # found on PATH
    return posixpath.join(image.working_dir or "/", words[0]) if words else ""


def _name(word: str) -> str:
    return posixpath.basename(word)


def _script(context: Context) -> tuple[str, bool]:
    """Return the boot file, and whether it is run without naming a shell."""
    try:
        image = context.image
    except LookupError:  # a folder: it has no CMD, and the platform's own path is the one to take
        return BOOT_FILE.value, False
    path = boot_path(image)
    return path, path in image.command[:1]
