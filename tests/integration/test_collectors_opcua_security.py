"""Signed and encrypted sessions, certificates, fingerprints, users; and what no log may hold."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asyncua import Client, Server, ua
from asyncua.crypto import cert_gen
from asyncua.server.user_managers import User, UserRole
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from opcua_server import NAMESPACE, OpcUaServer, reader_of

from collectors.contract.points import Quality
from collectors.opcua import session
from collectors.opcua.pki import UnusableKey, fingerprint_of, own_identity
from collectors.runtime.driver import ConnectionLost
from collectors.runtime.testing import RunningCollector

PASSWORD = "s3cret-Pä55"
POLICIES = [
    ua.SecurityPolicyType.Basic256Sha256_Sign,
    ua.SecurityPolicyType.Basic256Sha256_SignAndEncrypt,
    ua.SecurityPolicyType.Aes128Sha256RsaOaep_SignAndEncrypt,
    ua.SecurityPolicyType.Aes256Sha256RsaPss_SignAndEncrypt,
]


class Users:
    """Lets in anonymous clients, one user name, and certificates but one."""

    refused: bytes | None = None

    def get_user(
        self, iserver: Any, username: Any = None, password: Any = None, certificate: Any = None
    ) -> User | None:
        if username is not None:
            is_right = (username, password) == ("operator", PASSWORD)
            return User(role=UserRole.User, name=username) if is_right else None
        self.seen = certificate
        is_refused = certificate is not None and certificate == self.refused
        return None if is_refused else User(role=UserRole.User)


def make_certificate(folder: Path, uri: str) -> tuple[Path, Path]:
    key = cert_gen.generate_private_key()
    names = [x509.UniformResourceIdentifier(uri)]
    use = [x509.ExtendedKeyUsageOID.SERVER_AUTH, x509.ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = cert_gen.generate_self_signed_app_certificate(key, "test", {}, names, use)
    folder.mkdir(parents=True, exist_ok=True)
    certificate_file, key_file = folder / "cert.der", folder / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(Encoding.DER))
    key_file.write_bytes(cert_gen.dump_private_key_as_pem(key))
    key_file.chmod(0o600)
    return certificate_file, key_file


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpcUaServer]:
    certificate, key = make_certificate(
        tmp_path_factory.mktemp("server"), "urn:freeopcua:python:server"
    )

    async def configure(server: Server) -> None:
        server.set_security_policy(POLICIES)
        await server.load_certificate(str(certificate))
        await server.load_private_key(str(key))

    with OpcUaServer(configure=configure, user_manager=Users()) as server:
        yield server


@pytest.fixture(scope="module")
def plain_server() -> Iterator[OpcUaServer]:
    with OpcUaServer(user_manager=Users()) as server:
        yield server


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DAQ_HOME for all tests of the file, as a key takes a second to make."""
    return tmp_path_factory.mktemp("home")


def fingerprint_at(server: OpcUaServer) -> str:
    certificate = server.server.iserver.certificate
    assert certificate is not None
    return fingerprint_of(certificate)


def read_once(port: int, home: Path, **keys: Any) -> None:
    async def scenario() -> None:
        async with reader_of(port, ("a", "b"), home=home, **keys) as reader:
            samples = await reader.read()
            assert [s.quality for s in samples] == [Quality.GOOD, Quality.GOOD]

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("policy", "mode"),
    [
        ("basic256sha256", "sign"),
        ("basic256sha256", "sign_and_encrypt"),
        ("aes128_sha256_rsaoaep", "sign_and_encrypt"),
        ("aes256_sha256_rsapss", "sign_and_encrypt"),
    ],
)
@pytest.mark.parametrize("reading", ["poll", "subscribe"])
def test_values_come_through_every_policy(
    server: OpcUaServer, home: Path, policy: str, mode: str, reading: str
) -> None:
    read_once(server.port, home, security_policy=policy, security_mode=mode, mode=reading)


@pytest.mark.parametrize("mode", ["poll", "subscribe"])
def test_values_go_on_through_new_keys_of_the_channel(
    server: OpcUaServer, home: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr(session, "CHANNEL_LIFETIME_MS", 400)  # renewed each 0.3 s
    renewals = 0
    open_channel = Client.open_secure_channel

    async def counted(client: Client, renew: bool = False) -> None:
        nonlocal renewals
        renewals += renew
        await open_channel(client, renew)

    monkeypatch.setattr(Client, "open_secure_channel", counted)

    async def scenario() -> None:
        keys = {"security_policy": "basic256sha256", "mode": mode}
        async with reader_of(server.port, ("a",), home=home, **keys) as reader:
            for value in range(1, 40):
                await asyncio.to_thread(server.write, "a", float(value))
                await reader.until(lambda seen, v=value: v in [s.value for s in seen])
                await asyncio.sleep(0.02)
            assert reader.lost == []

    asyncio.run(scenario())
    assert renewals >= 2


def test_our_key_is_made_once_and_for_the_owner_only(server: OpcUaServer, tmp_path: Path) -> None:
    for _ in range(2):
        read_once(server.port, tmp_path, security_policy="basic256sha256")
        pem = tmp_path / "pki" / "opcua" / "client.pem"
        assert pem.stat().st_mode & 0o777 == 0o600
        made = own_identity(tmp_path)
    assert made.certificate == own_identity(tmp_path).certificate
    assert [path.name for path in sorted(pem.parent.iterdir())] == ["client.der", "client.pem"]
    public = x509.load_der_x509_certificate(pem.with_suffix(".der").read_bytes())
    assert public == made.certificate
    assert made.application_uri.startswith("urn:")


def test_a_key_of_ours_that_others_can_read_is_not_used(tmp_path: Path) -> None:
    own_identity(tmp_path)
    (tmp_path / "pki" / "opcua" / "client.pem").chmod(0o644)
    with pytest.raises(UnusableKey, match="chmod 600"):
        own_identity(tmp_path)


def test_two_collectors_that_start_together_share_one_key(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from collectors.opcua.pki import *;"
        "print(fingerprint_of(own_identity(Path(sys.argv[1])).certificate))"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(3)]
    assert len({process.communicate()[0] for process in running}) == 1


def test_a_certificate_of_ones_own_is_used(server: OpcUaServer, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "urn:plant:collector")
    own = {"certificate": str(certificate), "private_key": str(key)}
    read_once(server.port, tmp_path, security_policy="basic256sha256", **own)
    assert not (tmp_path / "pki").exists()


def test_a_key_that_does_not_belong_to_the_certificate_is_refused(
    server: OpcUaServer, tmp_path: Path
) -> None:
    certificate, _ = make_certificate(tmp_path / "one", "urn:plant:collector")
    _, key = make_certificate(tmp_path / "two", "urn:plant:collector")
    own = {"certificate": str(certificate), "private_key": str(key)}
    with pytest.raises(ConnectionLost, match="is not the key of"):
        read_once(server.port, tmp_path, security_policy="basic256sha256", **own)


def test_the_server_with_the_pinned_fingerprint_is_accepted(
    server: OpcUaServer, home: Path
) -> None:
    pinned = fingerprint_at(server).lower()
    read_once(server.port, home, security_policy="basic256sha256", server_fingerprint=pinned)


def test_another_server_is_refused_with_both_fingerprints(server: OpcUaServer, home: Path) -> None:
    pinned = ":".join(["AB"] * 32)
    with pytest.raises(ConnectionLost) as caught:
        read_once(server.port, home, security_policy="basic256sha256", server_fingerprint=pinned)
    assert pinned in caught.value.reason
    assert fingerprint_at(server) in caught.value.reason


def test_a_policy_that_the_server_does_not_offer_is_named_beside_those_it_does(
    plain_server: OpcUaServer, home: Path
) -> None:
    with pytest.raises(ConnectionLost, match=r"does not offer basic256sha256.*but: none"):
        read_once(plain_server.port, home, security_policy="basic256sha256")


@pytest.fixture
def password_file(tmp_path: Path) -> str:
    path = tmp_path / "password"
    path.write_text(PASSWORD + "\n", encoding="utf-8")
    path.chmod(0o600)
    return str(path)


def test_a_user_signs_in_with_a_password_from_a_file(
    server: OpcUaServer, home: Path, password_file: str
) -> None:
    login = {"user": "operator", "password_file": password_file}
    read_once(server.port, home, security_policy="basic256sha256", **login)


def test_a_user_signs_in_with_a_password_from_the_environment(
    server: OpcUaServer, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLC_PASSWORD", PASSWORD)
    login = {"user": "operator", "password_env": "PLC_PASSWORD"}
    read_once(server.port, home, security_policy="basic256sha256", **login)


def test_a_wrong_password_is_said_without_saying_it(
    server: OpcUaServer, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLC_PASSWORD", "wr0ng")
    login = {"user": "operator", "password_env": "PLC_PASSWORD"}
    with pytest.raises(ConnectionLost) as caught:
        read_once(server.port, home, security_policy="basic256sha256", **login)
    assert "denied" in caught.value.reason.lower()
    assert "wr0ng" not in caught.value.reason


def test_a_missing_environment_variable_is_named(server: OpcUaServer, home: Path) -> None:
    login = {"user": "operator", "password_env": "NO_SUCH_PASSWORD"}
    with pytest.raises(ConnectionLost, match="NO_SUCH_PASSWORD"):
        read_once(server.port, home, security_policy="basic256sha256", **login)


def test_a_password_goes_unencrypted_only_where_that_is_allowed(
    plain_server: OpcUaServer, home: Path, password_file: str
) -> None:
    login = {"user": "operator", "password_file": password_file}
    with pytest.raises(ConnectionLost, match="allow_plain_password"):
        read_once(plain_server.port, home, **login)
    read_once(plain_server.port, home, **login, allow_plain_password=True)


def test_a_user_signs_in_with_a_certificate(
    server: OpcUaServer, home: Path, tmp_path: Path
) -> None:
    certificate, key = make_certificate(tmp_path, "urn:plant:operator")
    login = {"user_certificate": str(certificate), "user_private_key": str(key)}
    users = server.user_manager
    users.refused = certificate.read_bytes()
    with pytest.raises(ConnectionLost):
        read_once(server.port, home, security_policy="basic256sha256", **login)
    users.refused = None
    read_once(server.port, home, security_policy="basic256sha256", **login)
    assert users.seen == certificate.read_bytes()


def test_test_read_shows_the_fingerprint_and_nothing_shows_the_password(
    server: OpcUaServer, tmp_path: Path, password_file: str
) -> None:
    file = tmp_path / "collectors.d" / "line1.toml"
    file.parent.mkdir()
    file.write_text(
        'name = "line1"\nprotocol = "opcua"\nlog_level = "debug"\n[[devices]]\nid = "plc"\n'
        f'endpoint = "opc.tcp://127.0.0.1:{server.port}"\ntimeout_s = 3.0\n'
        f'security_policy = "basic256sha256"\nuser = "operator"\n'
        f'password_file = "{password_file}"\n'
        f'[[devices.points]]\nname = "a"\nnode_id = "nsu={NAMESPACE};s=a"\n'
    )
    command = [sys.executable, "-m", "collectors", "test-read", str(file), "plc/a", "--json"]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "DAQ_LANG": "en"}, check=False
    )
    assert json.loads(done.stdout)[0]["quality"] == "GOOD"
    assert fingerprint_at(server) in done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    assert (tmp_path / "pki" / "opcua" / "client.pem").exists()


def test_a_running_collector_writes_the_password_nowhere(
    plain_server: OpcUaServer, tmp_path: Path, password_file: str
) -> None:
    home = tmp_path / "home"
    file = home / "collectors.d" / "line1.toml"
    file.parent.mkdir(parents=True)
    file.write_text(
        'name = "line1"\nprotocol = "opcua"\nlog_level = "debug"\n[[devices]]\nid = "plc"\n'
        f'endpoint = "opc.tcp://127.0.0.1:{plain_server.port}"\ntimeout_s = 3.0\n'
        f'user = "operator"\npassword_file = "{password_file}"\nallow_plain_password = true\n'
        f'[[devices.points]]\nname = "a"\nnode_id = "nsu={NAMESPACE};s=a"\n'
    )
    with RunningCollector(file, home) as collector:
        collector.reading()
        command_line = Path(f"/proc/{collector.pid}/cmdline").read_bytes()
        collector.stop()
    written = [path for path in home.rglob("*") if path.is_file()]
    assert len(written) > 3
    for secret in (PASSWORD.encode(), PASSWORD.encode("unicode_escape")):
        assert secret not in command_line
        assert [path for path in written if secret in path.read_bytes()] == []
