"""Certificates and keys: ours, made once and kept, or those that the file names."""

import contextlib
import os
import socket
import stat
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from asyncua.crypto.cert_gen import (
    dump_private_key_as_pem,
    generate_private_key,
    generate_self_signed_app_certificate,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_der_private_key,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID

_DAYS: Final = 20 * 365
"""Nobody would be there to trust a new one at each server when the old one ends."""
_PEM: Final = b"-----BEGIN"


_MAKING: Final = threading.Lock()
"""Two hundred devices that connect at once should not make two hundred keys."""


class UnusableKey(Exception):
    """A certificate or key cannot be used; the message says which and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A certificate with its private key."""

    certificate: x509.Certificate
    private_key: RSAPrivateKey

    @property
    def application_uri(self) -> str:
        """The URI that servers compare with what the client calls itself (OPC 10000-6, 6.2.2).

        Raises:
            UnusableKey: the certificate has none.
        """
        with contextlib.suppress(x509.ExtensionNotFound):
            names = self.certificate.extensions.get_extension_for_class(
                x509.SubjectAlternativeName
            ).value
            for uri in names.get_values_for_type(x509.UniformResourceIdentifier):
                return uri
        raise UnusableKey("our certificate has no application URI in its subjectAltName")


def own_identity(home: Path) -> Identity:
    """Return the certificate of this installation; make it if there is none.

    ``DAQ_HOME/pki/opcua/client.pem`` holds it with its key, for the owner only; ``client.der`` is
    the certificate alone, to be imported into a server's list of trusted clients.

    Raises:
        UnusableKey: it cannot be read or written, or others can read it.
    """
    path = home / "pki" / "opcua" / "client.pem"
    try:
        with _MAKING:
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                _make(path)
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise UnusableKey(f"other users can read our key: chmod 600 {path}")
        content = path.read_bytes()
        der = path.with_suffix(".der")
        identity = _identity(content, content)
        if not der.exists():
            der.write_bytes(identity.certificate.public_bytes(Encoding.DER))
    except (OSError, ValueError, TypeError) as exc:
        raise UnusableKey(f"{path}: {exc}") from exc
    return identity


def load_identity(certificate: Path, private_key: Path) -> Identity:
    """Return a certificate and its key from PEM or DER files.

    Raises:
        UnusableKey: unreadable, of an unknown form, not RSA, or not made for each other.
    """
    try:
        identity = _identity(certificate.read_bytes(), private_key.read_bytes())
    except (OSError, ValueError, TypeError) as exc:
        raise UnusableKey(f"{certificate}, {private_key}: {exc}") from exc
    if identity.certificate.public_key() != identity.private_key.public_key():
        raise UnusableKey(f"{private_key} is not the key of {certificate}")
    return identity


def load_server_certificate(der: bytes) -> x509.Certificate:
    """Return the first certificate of a chain.

    Raises:
        UnusableKey: there is none.
    """
    # A DER sequence begins with its tag, the marker of a length in two bytes, and that length.
    length = int.from_bytes(der[2:4], "big") + 4
    try:
        return x509.load_der_x509_certificate(der[:length])
    except ValueError as exc:
        raise UnusableKey(f"the server's certificate cannot be read: {exc}") from exc


def fingerprint_of(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of a certificate as people compare it, ``AB:CD:…``."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def _identity(certificate: bytes, private_key: bytes) -> Identity:
    is_pem = _PEM in certificate
    found = (
        x509.load_pem_x509_certificate(certificate)
        if is_pem
        else x509.load_der_x509_certificate(certificate)
    )
    key = (
        load_pem_private_key(private_key, None)
        if _PEM in private_key
        else load_der_private_key(private_key, None)
    )
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("OPC UA needs an RSA key")
    return Identity(certificate=found, private_key=key)


def _make(path: Path) -> None:
    """Write key and certificate in one step: several collectors may start at the same time."""
    host = socket.gethostname()
    uri = f"urn:{host}:daqplane:collector"
    key = generate_private_key()
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri), x509.DNSName(host)]
    use = [ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = generate_self_signed_app_certificate(
        key, "daqplane collector", {"organizationName": "daqplane"}, names, use, _DAYS
    )
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.unlink(missing_ok=True)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(dump_private_key_as_pem(key) + certificate.public_bytes(Encoding.PEM))
            file.flush()
            os.fsync(file.fileno())
        # Unlike a rename, a link leaves the file of a faster collector in place.
        with contextlib.suppress(FileExistsError):
            path.hardlink_to(temporary)
    finally:
        temporary.unlink()
