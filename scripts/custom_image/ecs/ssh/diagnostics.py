"""Diagnoses of a connection that ssh cannot make, each with what to do."""

from __future__ import annotations

import re
from typing import Final

_HINTS: Final = (
    (
        r"REMOTE HOST IDENTIFICATION HAS CHANGED",
        "{address} shows another host key than the one known for it, so nothing was sent: it was "
        "set up anew,\nor somebody stands between. Compare the fingerprint {fingerprint}\n"
        "with the server's console; only where it is right, forget the old key: "
        "ssh-keygen -R '{name}'",
    ),
    (
        r"No \S+ host key is known for|Host key verification failed",
        "{address} is not known yet, so nothing was sent: its host key is in no known_hosts file.\n"
        "Connect once by hand (ssh {address}), compare the fingerprint with the server's console, "
        "and accept it.",
    ),
    (
        r"Permission denied|Too many authentication failures",
        "{address} refuses the key: {last}\n"
        "Name the right private key, and see that its public half is in ~/.ssh/authorized_keys "
        "there.",
    ),
    (
        r"UNPROTECTED PRIVATE KEY|invalid format|error in libcrypto",
        "ssh cannot use the private key: {last}\nIt must be a private key, readable by you alone.",
    ),
    (
        r"Could not resolve hostname",
        "{address}: no such host. Check the name, and the DNS of this machine.",
    ),
    (
        r"Connection refused",
        "{address} is there, but no sshd answers at that port.\nCheck the port and the server.",
    ),
    (
        r"timed out|No route to host|Network is unreachable",
        "{address} does not answer: {last}\n"
        "Check that it runs, and that its security group lets your address in at the SSH port.",
    ),
)


def explain_refusal(address: str, log: str) -> str:
    """Return why ssh could not connect and what to do, of what it wrote."""
    lines = [line for line in log.strip().splitlines() if not line.startswith("debug")]
    last = lines[-1].strip() if lines else "ssh gave no reason"
    fingerprint = re.search(r"(SHA256:[A-Za-z0-9+/=]+)", log)
    name = address.partition("@")[2] or address
    if known := re.search(r"ssh-keygen -f \S+ -R (\S+)", log):
        name = known[1].strip("\"'")
    for pattern, hint in _HINTS:
        if re.search(pattern, log):
            return hint.format(
                address=address,
                last=last,
                name=name,
                fingerprint=fingerprint[1] if fingerprint else "",
            )
    return f"{address} cannot be reached by ssh: {last}"
