"""Security policies, users, operation limits and namespaces of a simulated OPC UA server."""

import asyncio

import pytest
from asyncua import Client, ua
from asyncua.crypto import security_policies
from asyncua.ua.uaerrors import UaStatusCodeError

from simulators.certificates import Certificate
from simulators.testing import RunningSimulator

FILE = """
protocol = "opcua"
security_policies = ["none", "basic256sha256", "aes128_sha256_rsaoaep", "aes256_sha256_rsapss"]
users = { alice = "wonderland" }
anonymous = ANONYMOUS
limits = { max_nodes_per_read = 3, max_monitored_items_per_call = 2 }
namespaces = ["urn:a", "urn:b"]
signals = [
  {name = "a", address = "ns=2;s=A", type = "int32", wave = {kind = "constant", value = 1}},
  {name = "b", address = "ns=3;s=F.A", type = "int32", wave = {kind = "constant", value = 2}},
  {name = "w", address = "ns=3;s=F.W", type = "int32", wave = {kind = "writable", value = 3}},
]
"""
POLICIES = (
    security_policies.SecurityPolicyBasic256Sha256,
    security_policies.SecurityPolicyAes128Sha256RsaOaep,
    security_policies.SecurityPolicyAes256Sha256RsaPss,
)
URI = "urn:daqplane:test"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("security")


@pytest.fixture(scope="module")
def simulator(folder):
    file = folder / "open.toml"
    file.write_text(FILE.replace("ANONYMOUS", "true"))
    with RunningSimulator(file) as running:
        yield running


@pytest.fixture(scope="module")
def ours(folder):
    certificate = Certificate(folder / "client.pem", folder / "client_key.pem")
    certificate.ensure("127.0.0.1", uri=URI)
    return certificate


def client_of(simulator):
    client = Client(f"opc.tcp://{simulator.host}:{simulator.port}", timeout=10)
    client.application_uri = URI
    return client


@pytest.mark.parametrize("policy", POLICIES, ids=lambda policy: policy.__name__)
@pytest.mark.parametrize(
    "mode", [ua.MessageSecurityMode.Sign, ua.MessageSecurityMode.SignAndEncrypt]
)
def test_every_policy_and_mode_is_served(simulator, ours, policy, mode):
    async def read():
        client = client_of(simulator)
        await client.set_security(policy, ours.cert, ours.key, mode=mode)
        async with client:
            return await client.get_node("ns=2;s=A").read_value()

    assert asyncio.run(read()) == 1


def test_faults_meet_encrypted_messages_too(simulator, ours):
    async def read():
        client = client_of(simulator)
        await client.set_security(POLICIES[0], ours.cert, ours.key)
        async with client:
            simulator.fault("split", chunk_bytes=9)
            value = await client.get_node("ns=2;s=A").read_value()
            simulator.clear()
            return value

    assert asyncio.run(read()) == 1


@pytest.mark.parametrize(
    ("user", "password", "admitted"),
    [("alice", "wonderland", True), ("alice", "x", False), ("bob", "x", False)],
)
def test_only_known_users_sign_in(simulator, user, password, admitted):
    async def read():
        client = client_of(simulator)
        client.set_user(user)
        client.set_password(password)
        async with client:
            return await client.get_node("ns=2;s=A").read_value()

    if admitted:
        assert asyncio.run(read()) == 1
    else:
        with pytest.raises(UaStatusCodeError, match="BadUserAccessDenied"):
            asyncio.run(read())


def test_anonymous_clients_can_be_kept_out(folder):
    file = folder / "closed.toml"
    file.write_text(FILE.replace("ANONYMOUS", "false"))

    async def connect(simulator):
        async with client_of(simulator):
            pass

    with RunningSimulator(file) as simulator, pytest.raises((UaStatusCodeError, ua.UaError)):
        asyncio.run(connect(simulator))


def test_calls_beyond_the_operation_limits_are_refused(simulator):
    async def scenario():
        async with client_of(simulator) as client:
            limit = client.get_node(
                ua.ObjectIds.Server_ServerCapabilities_OperationLimits_MaxNodesPerRead
            )
            assert await limit.read_value() == 3
            nodes = [client.get_node("ns=2;s=A")] * 4
            assert await client.read_values(nodes[:3]) == [1, 1, 1]
            with pytest.raises(UaStatusCodeError, match="BadTooManyOperations"):
                await client.read_values(nodes)
            subscription = await client.create_subscription(100)
            with pytest.raises(UaStatusCodeError, match="BadTooManyOperations"):
                await subscription.subscribe_data_change(nodes[:3])
            await subscription.subscribe_data_change(nodes[:2])
            await subscription.delete()

    asyncio.run(scenario())


def test_namespaces_have_their_uris_and_their_own_folders(simulator):
    async def scenario():
        async with client_of(simulator) as client:
            assert (await client.get_namespace_array())[2:] == ["urn:a", "urn:b"]
            node = await client.nodes.objects.get_child(["3:F", "3:A"])
            await client.get_node("ns=3;s=F.W").write_value(
                ua.DataValue(ua.Variant(9, ua.VariantType.Int32))
            )
            return await node.read_value(), await client.get_node("ns=3;s=F.W").read_value()

    assert asyncio.run(scenario()) == (2, 9)
