"""The certificate of a simulated device: made when it is first needed, and kept."""

import ipaddress
import os
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_LIFETIME = timedelta(days=3650)
_CLOCK_DIFFERENCE = timedelta(days=1)


class CertificateError(Exception):
    """The files cannot be used: ``reason`` says why."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its private key, both PEM."""

    cert: Path
    key: Path

    def ensure(self, host: str, *, uri: str | None = None) -> None:
        """Make both files if neither is there: self-signed, for ``host`` and its ``uri``.

        Raises:
            CertificateError: only one is there, or they cannot be written.
        """
        if self.cert.exists() and self.key.exists():
            return
        if self.cert.exists() or self.key.exists():
            missing = self.key if self.cert.exists() else self.cert
            raise CertificateError(missing, "it is missing beside the other file")
        try:
            _make(self, host, uri)
        except OSError as exc:
            raise CertificateError(self.cert, exc.strerror or str(exc)) from exc

    def server_context(self, ca: Path | None) -> ssl.SSLContext:
        """Return what a TLS server needs; with ``ca``, clients must show a certificate of it.

        Raises:
            CertificateError: a file cannot be read or is no certificate.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self.cert, self.key)
            if ca is not None:
                context.load_verify_locations(ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ssl.SSLError) as exc:
            raise CertificateError(self.cert, str(exc)) from exc
        return context


def _make(files: Certificate, host: str, uri: str | None) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "daqplane simulator")])
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(uri)] if uri else []
    try:
        names.append(x509.IPAddress(ipaddress.ip_address(host)))
    except ValueError:
        names.append(x509.DNSName(host))
    now = datetime.now(UTC)
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=True,
        key_encipherment=True,
        data_encipherment=True,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _CLOCK_DIFFERENCE)
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=False)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    with open(files.key, "wb", opener=_private) as stream:  # only open() has opener
        stream.write(secret)
    files.cert.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
