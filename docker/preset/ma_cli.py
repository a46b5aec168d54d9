#!/usr/bin/env python3
"""A stand-in for ma-cli, which ModelArts has in notebook instances and nobody else can install.

It takes the options that are documented for ``ma-cli image``, and does the work through the local
ModelArts that this instance belongs to. It shows itself as a stand-in wherever it says anything.

Source: https://support.huaweicloud.com/intl/en-us/devtool-modelarts/devtool-modelarts_0309.html to
_0317.html; the signature:
https://support.huaweicloud.com/intl/en-us/devg-apisign/api-sign-algorithm.html
"""

from __future__ import annotations

import argparse
import configparser
import fnmatch
import hashlib
import hmac
import json
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

NAME = "ma-cli (stand-in)"
VERSION = "1.2.1, a stand-in for ma-cli that works with the local ModelArts only"
KEYS_FOLDER = Path("~/.huaweicloud")
TIMEOUT_S = 1800
# Documented, and of no use here: who calls is known by the instance itself.
CONNECTION = (("-C", "--config-file"), ("-P", "--profile"))


TEMPLATES = "there are no templates here: their texts are the platform's own."
CACHE = "there is no cache here: the Docker engine of the local ModelArts keeps its own."
NOT_HERE = {
    **dict.fromkeys(("get-template", "gt", "add-template", "at"), TEMPLATES),
    **dict.fromkeys(("df", "prune"), CACHE),
    "debug": "works on an ECS with Docker, not in an instance.",
}


class Refused(Exception):
    """What ends the command with exit code 1; the message is shown."""


class Platform:
    """The local ModelArts, as an instance of it finds it in its home directory."""

    def __init__(self, folder: Path) -> None:
        try:
            self.endpoint = (folder / "endpoint").read_text().strip()
            (folder / "instance_id").read_text()
            parser = configparser.ConfigParser(interpolation=None)
            parser.read_string((folder / "credentials").read_text())
            self.keys = parser["basic"]
        except (OSError, KeyError, configparser.Error) as error:
            raise Refused(
                "this is no notebook instance of the local ModelArts "
                f"({folder}: {type(error).__name__}); ma-cli image works in an instance."
            ) from None
        self.project = self.keys["project_id"]

    def call(self, method, path, query=(), body=None, upload=None):
        """Make a signed call; return the JSON of its answer. An upload is signed as no body is."""
        content = b"" if body is None else json.dumps(body).encode()
        address = urllib.parse.urlsplit(self.endpoint)
        pairs = sorted((name, str(value)) for name, value in query)
        text = "&".join(f"{quote(name)}={quote(value)}" for name, value in pairs)
        headers = {
            "host": address.netloc,
            "x-sdk-date": time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()),
        }
        canonical = [
            method,
            f"{path}/",
            text,
            *(f"{n}:{v}" for n, v in sorted(headers.items())),
            "",
        ]
        canonical += [";".join(sorted(headers)), hashlib.sha256(content).hexdigest()]
        digest = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
        signed = f"SDK-HMAC-SHA256\n{headers['x-sdk-date']}\n{digest}".encode()
        signature = hmac.new(self.keys["sk"].encode(), signed, hashlib.sha256).hexdigest()
        headers["authorization"] = (
            f"SDK-HMAC-SHA256 Access={self.keys['ak']}, "
            f"SignedHeaders={';'.join(sorted(set(headers)))}, Signature={signature}"
        )
        headers["content-type"] = "application/x-tar" if upload else "application/json"
        if upload:
            headers["content-length"] = str(upload.seek(0, 2))
            upload.seek(0)
        request = urllib.request.Request(
            f"{self.endpoint}{path}?{text}", upload or content or None, headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            refusal = json.loads(error.read() or b"{}")
            raise Refused(f"{refusal.get('error_code')}: {refusal.get('error_msg')}") from None
        except OSError as error:
            raise Refused(f"the local ModelArts at {self.endpoint} broke off: {error}") from None


def quote(text):
    """Write a part of an address as the signature's rules want it."""
    return urllib.parse.quote(text, safe="~")


def build(platform, options):
    """Build the image of a Dockerfile and its context, and push it to the registry."""
    if options.target or options.obs_path:
        raise Refused("--target and --obs-path are not rehearsed: there is no OBS here.")
    dockerfile = Path(options.file_path)
    if not dockerfile.is_file():
        raise Refused(f"{dockerfile}: no such Dockerfile.")
    arguments = dict(argument.partition("=")[::2] for argument in options.build_arg)
    query = [("swr_path", options.swr_path), ("build_args", json.dumps(arguments))]
    query += [("force", "true")] if options.force else []
    with tempfile.TemporaryFile() as context:
        write_context(context, dockerfile, Path(options.context or dockerfile.parent))
        say(f"sending {context.tell() / 1e6:.1f} MB of build context to the local ModelArts")
        path = f"/local/{platform.project}/image-builds"
        built = platform.call("POST", path, query, upload=context)
    for line in built["log"]:
        sys.stdout.write(f"{line}\n")
    say(f"pushed {built['swr_path']}, {built['size'] / 1e6:.1f} MB compressed, {built['digest']}")


def write_context(file, dockerfile, folder):
    """Write a tar of a folder without what its .dockerignore names, and with this Dockerfile."""
    ignore = folder / ".dockerignore"
    patterns = (
        [line.strip() for line in ignore.read_text().splitlines()] if ignore.is_file() else []
    )
    patterns = [pattern for pattern in patterns if pattern and not pattern.startswith("#")]

    def keep(member):
        archive.inodes.clear()  # no hard links: what is left out cannot be linked to
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        is_dockerfile = member.name == "Dockerfile"
        return None if is_dockerfile or is_ignored(member.name, patterns) else member

    with tarfile.open(fileobj=file, mode="w") as archive:
        archive.add(folder, "", filter=keep)
        archive.add(dockerfile, "Dockerfile")


def is_ignored(name, patterns):
    """Tell whether the last pattern that fits a path leaves it out."""
    parts = name.split("/")
    above = ["/".join(parts[: length + 1]) for length in range(len(parts))]
    ignored = False
    for pattern in patterns:
        shape = pattern.lstrip("!").strip("/")
        if any(fnmatch.fnmatchcase(path, shape) for path in above):
            ignored = not pattern.startswith("!")
    return ignored


def register(platform, options):
    """Register an image of SWR in ModelArts."""
    if options.to_dli:
        raise Refused("-td is not rehearsed: there is no DLI here.")
    body = {
        "swr_path": f"{registry_of(platform)}/{options.swr_path}",
        "arch": options.arch,
        "services": [options.service],
        "resource_category": options.resource_category or ["CPU", "GPU"],
        "workspace_id": options.workspace_id,
        "visibility": options.visibility,
    }
    image = platform.call("POST", f"/v1/{platform.project}/images", body=body)
    say(f"registered {image['swr_path']} as {image['id']}")


def registry_of(platform):
    """Return the host of SWR; the real one is part of the configuration of ma-cli."""
    return platform.call("GET", f"/local/{platform.project}/registry")["host"]


def unregister(platform, options):
    """Unregister an image from ModelArts."""
    body = {"is_force": options.delete_swr_image}
    platform.call("DELETE", f"/v1/{platform.project}/images/{options.image_id}", body=body)
    say(f"unregistered {options.image_id}")


def get_image(platform, options):
    """List the images that are registered in ModelArts."""
    if options.image_id:
        found = [platform.call("GET", f"/v1/{platform.project}/images/{options.image_id}")]
    else:
        size = options.page_size
        query = {
            "type": {"DEDICATED": "DEDICATED", "BUILD_IN": "BUILD_IN"}.get(options.type, "ALL"),
            "name": options.image_name or options.filter or "",
            "workspace_id": options.workspace_id,
            "limit": size,
            "offset": (options.page_num - 1) * size,
        }
        path = f"/v1/{platform.project}/images"
        found = platform.call("GET", path, query.items())["data"]
    for image in found:
        text = json.dumps(image) if options.verbose else f"{image['id']}  {image['swr_path']}"
        sys.stdout.write(f"{text}\n")


def not_here(platform, options):
    """Accepted with its documented options, and refused: not rehearsed."""
    raise Refused(f"{options.command}: {NOT_HERE[options.command]}")


def say(text):
    """Write a line of the command's own."""
    sys.stdout.write(f"{NAME}: {text}\n")
    sys.stdout.flush()


def command(commands, name, run, *aliases):
    """Add a command with the options that all of them have; return its parser."""
    summary = (run.__doc__ or "").strip()
    parser = commands.add_parser(
        name,
        aliases=aliases,
        help=summary,
        description=f"{summary}\n{EPILOG}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
        allow_abbrev=False,
    )
    parser.set_defaults(run=run)
    parser.add_argument("-H", "-h", "--help", action="help", help="Show this message and exit.")
    parser.add_argument("-D", "--debug", action="store_true", help="Show the stack of an error.")
    for names in CONNECTION:
        parser.add_argument(*names, help="Accepted, and not used here.")
    return parser


EPILOG = "This is a stand-in for ma-cli, which works with the local ModelArts only."


def make_parser():
    """Return the parser of the documented options."""
    parser = argparse.ArgumentParser(
        "ma-cli", description=EPILOG, add_help=False, allow_abbrev=False
    )
    parser.add_argument("-H", "-h", "--help", action="help")
    parser.add_argument("-V", "-v", "--version", action="version", version=VERSION)
    parser.add_argument("-D", "--debug", action="store_true", help=argparse.SUPPRESS)
    for names in CONNECTION:
        parser.add_argument(*names, help=argparse.SUPPRESS)
    image = parser.add_subparsers(dest="group", required=True).add_parser(
        "image",
        description=f"Support get registered image list, build image in Notebook. {EPILOG}",
        add_help=False,
    )
    image.add_argument("-H", "-h", "--help", action="help")
    commands = image.add_subparsers(dest="command", required=True)

    made = command(commands, "build", build)
    made.add_argument("file_path", metavar="FILE_PATH", help="Dockerfile.")
    made.add_argument("-t", "--target", help="Not rehearsed.")
    made.add_argument("-swr", "--swr-path", required=True, metavar="ORGANIZATION/IMAGE:TAG")
    # The examples of the documentation spell two options in another way than its list does.
    made.add_argument("-context", "--context", metavar="DIRECTORY")
    made.add_argument("-arg", "--build-arg", action="append", default=[], metavar="NAME=VALUE")
    made.add_argument("-obs", "--obs-path", "--obs_path", help="Not rehearsed.")
    made.add_argument("-f", "--force", action="store_true", help="Overwrite the image in SWR.")

    made = command(commands, "register", register)
    made.add_argument("-swr", "--swr-path", required=True, metavar="ORGANIZATION/IMAGE:TAG")
    made.add_argument("-a", "--arch", choices=("X86_64", "AARCH64"), default="X86_64")
    made.add_argument("-s", "--service", choices=("NOTEBOOK", "MODELBOX"), default="NOTEBOOK")
    categories = ("CPU", "GPU", "ASCEND")
    made.add_argument("-rs", "--resource-category", choices=categories, action="append")
    made.add_argument("-wi", "--workspace-id", default="0")
    made.add_argument("-v", "--visibility", choices=("PUBLIC", "PRIVATE"), default="PRIVATE")
    made.add_argument("-td", dest="to_dli", action="store_true", help="Not rehearsed.")

    made = command(commands, "unregister", unregister)
    made.add_argument("-i", "--image-id", required=True)
    made.add_argument("-d", "--delete-swr-image", action="store_true")

    made = command(commands, "get-image", get_image, "gi")
    made.add_argument("-t", "--type", choices=("BUILD_IN", "DEDICATED", "ALL"), default="ALL")
    made.add_argument("-f", "--filter", help="A part of the name.")
    made.add_argument("-v", "--verbose", action="store_true")
    made.add_argument("-i", "--image-id")
    made.add_argument("-n", "--image-name")
    made.add_argument("-wi", "--workspace-id", default="0")
    made.add_argument("-pn", "--page-num", type=int, default=1)
    made.add_argument("-ps", "--page-size", type=int, default=20)

    made = command(commands, "get-template", not_here, "gt")
    made.add_argument("--filter")
    made.add_argument("-pn", "--page-num", type=int, default=1)
    made.add_argument("-ps", "--page-size", type=int, default=20)
    made.add_argument("-v", "--verbose", action="store_true")
    made = command(commands, "add-template", not_here, "at")
    made.add_argument("template_name", metavar="TEMPLATE_NAME")
    made.add_argument("--dst")
    made.add_argument("-f", "--force", action="store_true")
    command(commands, "df", not_here).add_argument("-v", "--verbose", action="store_true")
    made = command(commands, "prune", not_here)
    made.add_argument("-ks", "--keep-storage", type=int, default=0)
    made.add_argument("-kd", "--keep-duration", default="0s")
    made.add_argument("-v", "--verbose", action="store_true")
    command(commands, "debug", not_here)
    return parser


def main():
    """Run one command; return its exit code."""
    options = make_parser().parse_args()
    try:
        options.run(Platform(KEYS_FOLDER.expanduser()), options)
    except Refused as error:
        if options.debug:
            raise
        sys.stderr.write(f"{NAME}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
