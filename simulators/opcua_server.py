"""The asyncua server behind a simulated device: endpoints, security, users, operation limits."""

import hmac
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asyncua import ua
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.internal_server import InternalServer
from asyncua.server.server import Server
from asyncua.server.user_managers import UserManager
from asyncua.ua.object_ids import ObjectIds

from simulators.certificates import Certificate
from simulators.config import CertificateFiles, OpcUaDevice, OperationLimits
from simulators.faults import FaultBoard
from simulators.listener import Listener
from simulators.opcua_session import Connection

_APPLICATION_URI = "urn:daqplane:simulator"
_POLICIES = {
    ("basic256sha256", "sign"): ua.SecurityPolicyType.Basic256Sha256_Sign,
    ("basic256sha256", "sign_and_encrypt"): ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
    ("aes128_sha256_rsaoaep", "sign"): ua.SecurityPolicyType.Aes128Sha256RsaOaep_Sign,
    ("aes128_sha256_rsaoaep", "sign_and_encrypt"): (
        ua.SecurityPolicyType.Aes128Sha256RsaOaep_SignAndEncrypt
    ),
    ("aes256_sha256_rsapss", "sign"): ua.SecurityPolicyType.Aes256Sha256RsaPss_Sign,
    ("aes256_sha256_rsapss", "sign_and_encrypt"): (
        ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt
    ),
}
_LIMIT_NODES = {
    "max_nodes_per_read": ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead,
    "max_nodes_per_write": ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerWrite,
    "max_nodes_per_browse": ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerBrowse,
    "max_monitored_items_per_call": (
        ObjectIds.Server_ServerCapabilities_OperationLimits_MaxMonitoredItemsPerCall
    ),
}


class _Users(UserManager):
    """Names and passwords of the simulator's file."""

    def __init__(self, passwords: Mapping[str, str], *, anonymous: bool) -> None:
        self._passwords = passwords
        self._anonymous = anonymous

    def get_user(
        self,
        iserver: InternalServer,
        username: str | None = None,
        password: str | None = None,
        certificate: Any = None,
    ) -> User | None:
        del iserver, certificate
        if username is None:
            return User(role=UserRole.User) if self._anonymous else None
        expected = self._passwords.get(username)
        if expected is None or not hmac.compare_digest(
            expected.encode(), (password or "").encode()
        ):
            return None
        return User(role=UserRole.User, name=username)


class SimulatedServer(Server):
    """An asyncua server whose port is somebody else's: it does not listen itself."""

    def __init__(self, config: OpcUaDevice) -> None:
        super().__init__(user_manager=_Users(config.users, anonymous=config.anonymous))
        self._operation_limits = config.limits

    async def start(self) -> None:
        await self._setup_server_nodes()
        await self.iserver.start()

    def connection(self, listener: Listener, faults: FaultBoard) -> Connection:
        """Return what serves one client."""
        return Connection(
            self.iserver,
            self._policies,
            self.limits,
            listener=listener,
            faults=faults,
            operation_limits=self._operation_limits,
        )


async def configured_server(
    config: OpcUaDevice, host: str, port: int, made: Path
) -> SimulatedServer:
    """Return a server for ``config`` without its variables, not yet started.

    A certificate that the file does not name is kept in the folder ``made``.

    Raises:
        CertificateError: its certificate cannot be used.
    """
    server = SimulatedServer(config)
    await server.init()
    server.set_endpoint(f"opc.tcp://{host}:{port}/")
    server.set_server_name("daqplane simulator")
    await server.set_application_uri(_APPLICATION_URI)
    policies = [
        kind
        for (policy, mode), kind in _POLICIES.items()
        if policy in config.security_policies and mode in config.security_modes
    ]
    if policies:
        files = config.certificate or CertificateFiles(
            cert=str(made / "cert.pem"), key=str(made / "key.pem")
        )
        certificate = Certificate(Path(files.cert), Path(files.key))
        certificate.ensure(host, uri=_APPLICATION_URI)
        await server.load_certificate(certificate.cert, "pem")
        await server.load_private_key(certificate.key, format="pem")
    if "none" in config.security_policies:
        policies.insert(0, ua.SecurityPolicyType.NoSecurity)
    server.set_security_policy(policies)
    anonymous = [ua.AnonymousIdentityToken] if config.anonymous else []
    named = [ua.UserNameIdentityToken] if config.users else []
    server.set_identity_tokens([*anonymous, *named])
    server.allow_remote_admin(False)
    for index, uri in enumerate(config.namespaces, 2):
        if await server.register_namespace(uri) != index:
            raise RuntimeError("asyncua no longer gives the first own namespace the index 2")
    await _tell_limits(server, config.limits)
    return server


async def _tell_limits(server: Server, limits: OperationLimits) -> None:
    for name, identifier in _LIMIT_NODES.items():
        node = server.get_node(ua.NodeId(ua.Int32(identifier)))
        await node.write_value(ua.Variant(getattr(limits, name), ua.VariantType.UInt32))
