"""A certificate authority of our own, and the one certificate that it signs.

The registry shows that certificate to its clients, and the platform signs registry tokens with its
key; the authority's certificate is what both are checked with.
"""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from local_modelarts.storage.paths import write_secret

_LIFETIME = datetime.timedelta(days=3650)


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
    folder.mkdir(parents=True, exist_ok=True)
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _name("local ModelArts authority")
    root = (
        _builder(authority, authority, authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    addresses = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    leaf = (
        _builder(_name("local ModelArts registry"), authority, key.public_key())
        .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_secret(files.authority, root.public_bytes(pem).decode(), 0o644)
    write_secret(files.key, private.decode())
    write_secret(files.certificate, leaf.public_bytes(pem).decode(), 0o644)
    return files


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + _LIFETIME)
    )
