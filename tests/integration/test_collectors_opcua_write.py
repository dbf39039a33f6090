"""Writes with read-back, in the type that the server says its node has."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from asyncua import ua
from asyncua.common.callback import CallbackType
from opcua_server import OpcUaServer, reader_of

from collectors.contract.points import Quality, Sample
from collectors.runtime.driver import WriteFailed, WriteRefused

KINDS: dict[str, Any] = {
    "flag": ua.Variant(False, ua.VariantType.Boolean),
    "word": ua.Variant(0, ua.VariantType.UInt16),
    "big": ua.Variant(0, ua.VariantType.Int64),
    "single": ua.Variant(0.0, ua.VariantType.Float),
    "double": ua.Variant(0.0, ua.VariantType.Double),
    "text": ua.Variant("", ua.VariantType.String),
    "list": ua.Variant([1, 2], ua.VariantType.Int16),
    "locked": ua.Variant(0, ua.VariantType.Int32),
}


@pytest.fixture(scope="module")
def server() -> Iterator[OpcUaServer]:
    async def add(server: OpcUaServer) -> None:
        for name, value in KINDS.items():
            objects = server.server.nodes.objects
            node = await objects.add_variable(server.node_id(name), name, value)
            if name != "locked":
                await node.set_writable()

    with OpcUaServer(names=()) as server:
        server.run(add(server))
        yield server


def written(server: OpcUaServer, name: str, value: Any, **keys: Any) -> Sample:
    point = {"name": name, "node_id": f"nsu=urn:test:plant;s={name}", "writable": True, **keys}

    async def scenario() -> Sample:
        async with reader_of(server.port, (), points=[point]) as reader:
            return await reader.driver.write(name, value)

    return asyncio.run(scenario())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("flag", True),
        ("word", 65535),
        ("big", -(2**63)),
        ("single", 0.5),
        ("double", 1e300),
        ("double", 7),
        ("text", "压力 7"),
    ],
)
def test_a_value_is_written_and_read_back(server: OpcUaServer, name: str, value: Any) -> None:
    sample = written(server, name, value)
    assert (sample.point, sample.value, sample.quality) == (f"plc/{name}", value, Quality.GOOD)
    held = server.run(server.server.get_node(server.node_id(name)).read_data_value())
    assert held.Value.VariantType == KINDS[name].VariantType
    assert held.Value.Value == value


def test_a_scaled_value_is_scaled_back(server: OpcUaServer) -> None:
    sample = written(server, "word", 21.3, scale=0.1, offset=1.0)
    assert sample.value == pytest.approx(21.3)
    held = server.run(server.server.get_node(server.node_id("word")).read_value())
    assert held == 203


def test_a_single_that_cannot_hold_all_digits_still_counts_as_the_same(
    server: OpcUaServer,
) -> None:
    assert written(server, "single", 0.1).value == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("word", 65536, "does_not_fit"),
        ("word", "1", "wrong_type"),
        ("list", 1, "not_supported"),
    ],
)
def test_what_does_not_fit_is_not_sent(
    server: OpcUaServer, name: str, value: Any, code: str
) -> None:
    with pytest.raises(WriteRefused) as caught:
        written(server, name, value)
    assert caught.value.code == code


def test_a_refusal_carries_the_status_of_the_server(server: OpcUaServer) -> None:
    with pytest.raises(WriteFailed) as caught:
        written(server, "locked", 5)
    assert caught.value.code == "device_refused"
    assert caught.value.native_code in (0x803B_0000, 0x801F_0000)  # BadNotWritable, -Access


def test_a_node_that_does_not_exist_is_a_refusal(server: OpcUaServer) -> None:
    with pytest.raises(WriteFailed) as caught:
        written(server, "missing", 5)
    assert caught.value.native_code == 0x8034_0000


def test_a_device_that_keeps_its_own_value_is_told(server: OpcUaServer) -> None:
    held = ua.DataValue(ua.Variant(1, ua.VariantType.UInt16))
    attributes = server.server.iserver.aspace[server.node_id("word")].attributes

    def insist(*_: object) -> None:
        attributes[ua.AttributeIds.Value].value = held

    server.server.subscribe_server_callback(CallbackType.PostWrite, insist)
    with pytest.raises(WriteFailed) as caught:
        written(server, "word", 5)
    server.server.unsubscribe_server_callback(CallbackType.PostWrite, insist)
    assert caught.value.code == "read_back_differs"
    assert caught.value.read_back is not None
    assert caught.value.read_back.value == 1
