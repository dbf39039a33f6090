"""Slow readers and connections that are cut, against the real server that publishes fast."""

import contextlib
import json
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
from live_server import Running, frame, serving
from simple_websocket import Client

PER_S = 400


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with serving(tmp_path_factory.mktemp("home"), TEST_PUBLISH_PER_S=str(PER_S)) as running:
        yield running


def subscribed(server: Running, **place: object) -> tuple[Client, dict[str, Any]]:
    ws = server.live()
    ws.send(json.dumps({"id": 1, "op": "subscribe", "topic": "performance", **place}))
    return ws, frame(ws, "ack")


def next_message(ws: Client) -> dict[str, Any]:
    return frame(ws, "performance_metrics")


def metric(server: Running, name: str) -> float:
    request = urllib.request.Request(
        f"http://127.0.0.1:{server.port}/metrics",
        headers={"Authorization": f"Bearer {server.token}"},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))


def test_one_that_never_reads_is_cut_off_while_another_misses_nothing(server: Running) -> None:
    subscribe = b'{"op": "subscribe", "topic": "performance"}'
    with server.open() as mute:
        mute.sendall(bytes((0x81, 0x80 | len(subscribe))) + b"\0\0\0\0" + subscribe)
        ws, _ = subscribed(server)
        position = next_message(ws)["seq"]
        deadline = time.monotonic() + 20
        looked = time.monotonic()
        while True:
            delta = next_message(ws)
            assert delta["prev"] <= position < delta["seq"]
            position = delta["seq"]
            if time.monotonic() - looked > 0.5:
                looked = time.monotonic()
                if metric(server, "daq_live_cut_off_total") == 1:
                    break
            assert time.monotonic() < deadline
        ws.close()


def test_who_comes_back_goes_on_where_it_was_without_a_snapshot(server: Running) -> None:
    ws, ack = subscribed(server)
    values = {each["process_name"]: each for each in next_message(ws)["data"]}
    position = ack["seq"]
    for _ in range(5):
        for _ in range(20):
            delta = next_message(ws)
            assert delta["prev"] <= position < delta["seq"]
            position = delta["seq"]
            values[delta["data"]["process_name"]] = delta["data"]
        ws.sock.close()
        with contextlib.suppress(Exception):
            ws.close()
        ws, ack = subscribed(server, since=position, epoch=ack["epoch"])
        assert ack["recovered"] is True
    for _ in range(60):
        delta = next_message(ws)
        assert (delta["kind"], delta["prev"] <= position) == ("delta", True)
        position = delta["seq"]
        values[delta["data"]["process_name"]] = delta["data"]
    # What was put together from changes is what a newcomer gets.
    other, ack = subscribed(server)
    snapshot = next_message(other)
    while position < ack["seq"]:
        delta = next_message(ws)
        position = delta["seq"]
        values[delta["data"]["process_name"]] = delta["data"]
    then = {each["process_name"]: each["data_points_per_minute"] for each in snapshot["data"]}
    assert {
        name: each["data_points_per_minute"] >= then[name] for name, each in values.items()
    } == (dict.fromkeys(then, True))
    ws.close()
    other.close()
