"""Prove who we are to a server, and have it prove who it is."""

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from asyncua import ua
from asyncua.client.client import Client
from asyncua.crypto import security_policies as policies
from cryptography import x509

from collectors.contract.config_opcua import OpcUaDevice
from collectors.opcua.pki import (
    Identity,
    UnusableKey,
    fingerprint_of,
    load_identity,
    load_server_certificate,
    own_identity,
)
from collectors.runtime.driver import ConnectionLost, Traffic

_POLICIES: Final[Mapping[str, type[policies.SecurityPolicy]]] = {
    "none": policies.SecurityPolicyNone,
    "basic256sha256": policies.SecurityPolicyBasic256Sha256,
    "aes128_sha256_rsaoaep": policies.SecurityPolicyAes128Sha256RsaOaep,
    "aes256_sha256_rsapss": policies.SecurityPolicyAes256Sha256RsaPss,
}
_MODES: Final = {
    "sign": ua.MessageSecurityMode.Sign,
    "sign_and_encrypt": ua.MessageSecurityMode.SignAndEncrypt,
}

_log = logging.getLogger(__name__)


class Security:
    """What the file says about one device's security, applied to each new connection."""

    def __init__(self, device: OpcUaDevice, home: Path, traffic: Traffic) -> None:
        self._device = device
        self._home = home
        self._traffic = traffic
        self._policy = _POLICIES[device.security_policy]
        self._mode = ua.MessageSecurityMode.None_
        if device.security_policy != "none":
            self._mode = _MODES[device.security_mode or "sign_and_encrypt"]

    async def prepare(self, client: Client, probe: Client) -> None:
        """Give a client that is not connected its certificate and credentials.

        Args:
            probe: Another one, with which the server is asked for its endpoints.

        Raises:
            ConnectionLost: the server offers none that fits, it is not the one whose fingerprint
                is configured, or a key, certificate or password cannot be read.
        """
        device = self._device
        try:
            if device.security_policy != "none" or device.user is not None:
                endpoint = self._choose(await probe.connect_and_get_server_endpoints())
                if device.security_policy != "none":
                    await self._secure(client, endpoint)
                if device.user is not None:
                    self._sign_in(client, endpoint)
            if device.user_certificate and device.user_private_key:
                user = load_identity(Path(device.user_certificate), Path(device.user_private_key))
                client.user_certificate = user.certificate
                client.user_private_key = user.private_key
        except UnusableKey as exc:
            raise ConnectionLost(str(exc)) from exc

    def _choose(self, endpoints: Sequence[ua.EndpointDescription]) -> ua.EndpointDescription:
        for endpoint in endpoints:
            if (endpoint.SecurityPolicyUri, endpoint.SecurityMode) == (
                self._policy.URI,
                self._mode,
            ):
                return endpoint
        offered = sorted({in_words(endpoint) for endpoint in endpoints})
        raise ConnectionLost(
            f"the server does not offer {self._device.security_policy} with"
            f" {self._mode.name}, but: {', '.join(offered)}"
        )

    async def _secure(self, client: Client, endpoint: ua.EndpointDescription) -> None:
        server = load_server_certificate(endpoint.ServerCertificate or b"")
        self._check_fingerprint(server)
        # A new key takes a second of computing.
        own = await asyncio.to_thread(self._own_identity)
        client.application_uri = own.application_uri
        policy = self._policy(server, own.certificate, own.private_key, self._mode)
        client.security_policy = policy  # type: ignore[assignment] # narrowed to its first value
        client.uaclient.set_security(policy)

    def _own_identity(self) -> Identity:
        device = self._device
        if device.certificate and device.private_key:
            return load_identity(Path(device.certificate), Path(device.private_key))
        return own_identity(self._home)

    def _check_fingerprint(self, server: x509.Certificate) -> None:
        seen, pinned = fingerprint_of(server), self._device.pinned_fingerprint
        if pinned is None and seen != self._traffic.peer_fingerprint:
            facts = {"device": self._device.id, "fingerprint": seen}
            _log.warning("any server certificate is accepted: set server_fingerprint", extra=facts)
        self._traffic.peer_fingerprint = seen
        if pinned is not None and seen.replace(":", "") != pinned:
            raise ConnectionLost(
                f"the server's certificate has the fingerprint {seen},"
                f" not {_with_colons(pinned)} as in server_fingerprint"
            )

    def _sign_in(self, client: Client, endpoint: ua.EndpointDescription) -> None:
        tokens = [
            token
            for token in endpoint.UserIdentityTokens
            if token.TokenType == ua.UserTokenType.UserName
        ]
        if not tokens:
            raise ConnectionLost("the server does not accept user names at this endpoint")
        uri = tokens[0].SecurityPolicyUri or endpoint.SecurityPolicyUri
        is_plain = uri == policies.SecurityPolicyNone.URI
        is_encrypted = endpoint.SecurityMode == ua.MessageSecurityMode.SignAndEncrypt
        if is_plain and not is_encrypted and not self._device.allow_plain_password:
            raise ConnectionLost(
                "the server wants the password unencrypted: use a security_policy,"
                " or set allow_plain_password = true"
            )
        client.set_user(self._device.user or "")
        client.set_password(self._password())

    def _password(self) -> str:
        if self._device.password_env is not None:
            found = os.environ.get(self._device.password_env)
            if found is None:
                name = self._device.password_env
                raise ConnectionLost(f"password_env: there is no environment variable {name}")
            return found
        path = Path(self._device.password_file or "")
        try:
            return path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) else "not UTF-8"
            raise ConnectionLost(f"password_file: {path}: {reason}") from None


def in_words(endpoint: ua.EndpointDescription) -> str:
    """Return policy and mode of an endpoint, such as ``basic256sha256/sign``."""
    policy = (endpoint.SecurityPolicyUri or "").rpartition("#")[2]
    return f"{policy}/{endpoint.SecurityMode.name}".lower().replace("none/none_", "none")


def _with_colons(digits: str) -> str:
    return ":".join(digits[at : at + 2] for at in range(0, len(digits), 2))
