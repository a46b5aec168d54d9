"""A certificate authority of our own, and the one certificate that it signs.

The registry shows that certificate to its clients, and the platform signs registry tokens with its
key; the authority's certificate is what both are checked with.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import trustme

from local_modelarts.storage.paths import write_secret


@dataclass(frozen=True)
class Certificates:
    """Where the files stand; all PEM."""

    authority: Path
    certificate: Path
    key: Path


def ensure_certificates(folder: Path) -> Certificates:
    """Make the authority and the certificate for loopback, unless they are there."""
    files = Certificates(folder / "authority.pem", folder / "registry.pem", folder / "registry.key")
    if files.certificate.exists():  # written last
        return files
    authority = trustme.CA(organization_name="local ModelArts authority")
    issued = authority.issue_cert("localhost", "127.0.0.1", common_name="local ModelArts registry")
    write_secret(files.authority, authority.cert_pem.bytes(), 0o644)
    write_secret(files.key, issued.private_key_pem.bytes())
    write_secret(files.certificate, issued.cert_chain_pems[0].bytes(), 0o644)
    return files
