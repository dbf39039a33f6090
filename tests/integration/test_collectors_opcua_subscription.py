"""Subscriptions: every change is kept, and a silent server is noticed."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from opcua_server import OpcUaServer, Reader, reader_of

from collectors.contract.points import Quality, Sample

NAMES = ("a", "b", "c")


@pytest.fixture(scope="module")
def server() -> Iterator[OpcUaServer]:
    with OpcUaServer(NAMES) as server:
        yield server


@pytest.fixture(autouse=True)
def zeros(server: OpcUaServer) -> None:
    for name in NAMES:
        server.write(name, 0.0)


def subscriber(server: OpcUaServer, names: tuple[str, ...] = NAMES, **keys: Any) -> Reader:
    return reader_of(server.port, names, mode="subscribe", **keys)


def values(samples: list[Sample], name: str) -> list[Any]:
    return [sample.value for sample in samples if sample.point == f"plc/{name}"]


def test_the_first_read_brings_every_point(server: OpcUaServer) -> None:
    async def scenario() -> list[Sample]:
        async with subscriber(server) as reader:
            return await reader.read()

    samples = asyncio.run(scenario())
    assert [(s.point, s.value, s.quality) for s in samples] == [
        (f"plc/{name}", 0.0, Quality.GOOD) for name in NAMES
    ]


def test_every_change_is_kept_in_order(server: OpcUaServer) -> None:
    written = [float(number) for number in range(1, 41)]

    async def scenario() -> list[Sample]:
        group = {"interval_s": 0.5, "sampling_interval_s": 0.01}
        async with subscriber(server, ("a",), group=group) as reader:
            await reader.read()
            for value in written:
                await asyncio.to_thread(server.write, "a", value)
            return await reader.until(lambda seen: 40.0 in values(seen, "a"))

    found = values(asyncio.run(scenario()), "a")
    assert [value for i, value in enumerate(found) if value not in found[:i] and value] == written


def test_an_unchanged_value_is_repeated_only_when_the_server_has_spoken(
    server: OpcUaServer,
) -> None:
    async def scenario() -> tuple[list[Sample], list[Sample]]:
        async with subscriber(server, group={"interval_s": 0.5}) as reader:
            first = await reader.read()
            await reader.until(lambda seen: seen)
            assert await reader.read() == []
            return first, await reader.until(lambda seen: seen)

    first, later = asyncio.run(scenario())
    assert [s.source_ns for s in later[:3]] == [s.source_ns for s in first]
    assert all(again.received_ns > s.received_ns for s, again in zip(first, later, strict=False))


def test_a_node_that_does_not_exist_is_bad_alone_and_comes_back(server: OpcUaServer) -> None:
    async def scenario() -> None:
        async with subscriber(server, ("a", "late")) as reader:
            bad = {s.point: s for s in await reader.read()}
            assert bad["plc/a"].quality is Quality.GOOD
            assert bad["plc/late"].quality is Quality.BAD_CONFIG
            assert bad["plc/late"].code == 0x8034_0000
            objects = server.server.nodes.objects
            await asyncio.to_thread(
                server.run, objects.add_variable(server.node_id("late"), "late", 7.0)
            )
            reader.driver.forget()
            seen = await reader.until(lambda seen: 7.0 in values(seen, "late"))
            assert values(seen, "late")[-1] == 7.0

    asyncio.run(scenario())


def test_an_uncertain_value_stays_one(server: OpcUaServer) -> None:
    async def scenario() -> Sample:
        async with subscriber(server, ("a",)) as reader:
            await reader.read()
            await asyncio.to_thread(server.write, "a", 3.0, 0x4090_0000)
            return (await reader.until(lambda seen: 3.0 in values(seen, "a")))[-1]

    sample = asyncio.run(scenario())
    assert (sample.quality, sample.code) == (Quality.UNCERTAIN, 0x4090_0000)


def test_a_deleted_subscription_is_made_anew_and_marks_the_gap(server: OpcUaServer) -> None:
    async def scenario() -> list[Sample]:
        async with subscriber(server, timeout_s=0.5) as reader:
            await reader.read()
            service = server.server.iserver.subscription_service
            await asyncio.to_thread(
                server.run, service.delete_subscriptions(list(service.subscriptions))
            )
            await asyncio.to_thread(server.write, "a", 5.0)
            seen = await reader.until(lambda seen: 5.0 in values(seen, "a"))
            assert reader.lost == []
            return seen

    qualities = [s.quality for s in asyncio.run(scenario()) if s.point == "plc/a"]
    assert Quality.STALE in qualities
    assert qualities[-1] is Quality.GOOD


def test_an_item_that_the_server_has_lost_does_not_stay_good_for_ever(server: OpcUaServer) -> None:
    """All others are told as before, so the subscription looks healthy."""

    async def scenario() -> list[Sample]:
        async with subscriber(server, timeout_s=0.5) as reader:
            await reader.read()
            await asyncio.to_thread(server.run, lose_item(server, "b"))
            await asyncio.to_thread(server.write, "b", 7.0)
            await asyncio.to_thread(server.write, "a", 5.0)
            seen = await reader.until(lambda seen: 7.0 in values(seen, "b"), timeout_s=20.0)
            assert reader.lost == []
            return seen

    seen = asyncio.run(scenario())
    qualities = [s.quality for s in seen if s.point == "plc/b"]
    assert Quality.STALE in qualities
    assert qualities[-1] is Quality.GOOD
    assert 5.0 in values(seen[: len(seen) // 2], "a")


async def lose_item(server: OpcUaServer, name: str) -> None:
    service = server.server.iserver.subscription_service
    for subscription in service.subscriptions.values():
        found = subscription.monitored_item_srv
        lost = [
            number
            for number, item in found._monitored_items.items()
            if item.read_value_id.NodeId == server.node_id(name)
        ]
        found.delete_monitored_items(lost)
        assert lost


def test_what_the_server_tells_agrees_with_what_it_gives(server: OpcUaServer) -> None:
    """Moving values, values that stay, and no numbers: none of them is suspected."""

    async def scenario() -> list[Sample]:
        async with subscriber(server, timeout_s=0.5) as reader:
            await asyncio.to_thread(server.write, "c", float("nan"))
            seen = await reader.read()
            for number in range(140):
                await asyncio.to_thread(server.write, "a", float(number))
                await asyncio.sleep(0.05)
                seen += await reader.read()
            return seen

    seen = asyncio.run(scenario())
    assert Quality.STALE not in {sample.quality for sample in seen}


def test_changes_that_the_server_dropped_are_counted(server: OpcUaServer) -> None:
    async def scenario() -> Reader:
        async with subscriber(server, ("a",)) as reader:
            await reader.read()
            await asyncio.to_thread(server.write, "a", 9.0, 0x0480)
            await reader.until(lambda seen: 9.0 in values(seen, "a"))
            return reader

    assert asyncio.run(scenario()).traffic.lost_changes == 1


def test_a_server_side_deadband_withholds_small_changes(server: OpcUaServer) -> None:
    points = [
        {"name": "a", "node_id": "nsu=urn:test:plant;s=a", "deadband": 1.0, "scale": 0.1},
        {"name": "b", "node_id": "nsu=urn:test:plant;s=b"},
    ]

    async def scenario() -> list[Sample]:
        group = {"server_deadband": True}
        async with subscriber(server, points=points, group=group) as reader:
            await reader.read()
            for value in (5.0, 9.0, 30.0, 31.0):
                await asyncio.to_thread(server.write, "a", value)
            await asyncio.to_thread(server.write, "b", 1.0)
            return await reader.until(
                lambda seen: 1.0 in values(seen, "b") and 3.0 in values(seen, "a")
            )

    assert set(values(asyncio.run(scenario()), "a")) <= {0.0, 3.0}


def test_a_reload_leaves_an_unchanged_group_alone_and_moves_the_other(
    server: OpcUaServer,
) -> None:
    points = [
        {"name": name, "node_id": f"nsu=urn:test:plant;s={name}", "group": group}
        for name, group in (("a", "one"), ("b", "two"))
    ]
    groups = [{"id": "one", "interval_s": 0.05}, {"id": "two", "interval_s": 0.05}]

    async def scenario() -> None:
        reader = subscriber(server, points=points, groups=groups)
        moved = subscriber(
            server,
            points=[points[0], {**points[1], "node_id": points[0]["node_id"]}],
            groups=groups,
        )
        async with reader:
            await reader.read("one")
            await reader.read("two")
            ids = subscriptions_of(server)
            assert reader.driver.adopt(moved.device)
            assert (await reader.read("two"))[0].quality is Quality.GOOD
            assert len(ids & subscriptions_of(server)) == 1
            assert len(subscriptions_of(server)) == 2

    asyncio.run(scenario())


def subscriptions_of(server: OpcUaServer) -> set[int]:
    return set(server.server.iserver.subscription_service.subscriptions)


def test_nothing_is_left_at_the_server_after_a_close(server: OpcUaServer) -> None:
    async def scenario() -> None:
        async with subscriber(server) as reader:
            await reader.read()
        deadline = time.monotonic() + 5
        while subscriptions_of(server):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    asyncio.run(scenario())
