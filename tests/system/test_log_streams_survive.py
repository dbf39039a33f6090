"""Logs under a real supervisord: every line once, whatever dies, rotates or floods."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from log_plant import LiveLog, LogPlant, Writer, wait_until
from simple_websocket import ConnectionClosed

pytestmark = pytest.mark.supervisord


@pytest.fixture
def make_plant(tmp_path: Path) -> Iterator[Callable[..., LogPlant]]:
    plants = []

    def make(**writers: Writer) -> LogPlant:
        plants.append(LogPlant(tmp_path / "home", writers))
        plants[-1].prepare()
        return plants[-1]

    yield make
    for plant in plants:
        plant.stop()


def test_no_line_is_lost_or_doubled_when_the_control_plane_is_killed(
    make_plant: Callable[..., LogPlant],
) -> None:
    count = 40_000
    plant = make_plant(line1=Writer(count=count, per_s=1500, maxbytes=120_000, backups=60))
    (plant.home / "log" / "line1.log").write_text("")
    plant.start_server()
    numbers = until_killed(plant, count // 3)
    plant.start_server()
    with plant.watching({"name": "line1", "after": numbers.cursors}) as again:
        while not again.numbers or again.numbers[-1] < count - 1:
            assert again.take()
    assert (again.skipped, again.resets) == (0, 0)
    assert len(list((plant.home / "log").glob("line1.log.*"))) >= 20
    assert numbers.numbers + again.numbers == list(range(count))
    downloaded = plant.text("/api/v1/processes/line1/logs/download?format=jsonl").splitlines()
    assert [int(json.loads(each)["message"].split()[1]) for each in downloaded] == list(
        range(count)
    )


def until_killed(plant: LogPlant, count: int) -> LiveLog:
    """Watch from the first line on, kill the control plane after so many, take what came."""
    with plant.watching({"name": "line1"}) as viewer:
        while not viewer.cursors:
            assert viewer.take()
        plant.start_supervisord()
        while len(viewer.numbers) < count:
            assert viewer.take()
        plant.kill_server()
        with contextlib.suppress(ConnectionClosed):
            while viewer.take():
                pass
    assert (viewer.skipped, viewer.resets) == (0, 0)
    return viewer


def test_a_flood_harms_nobody_and_what_is_skipped_is_told(
    make_plant: Callable[..., LogPlant],
) -> None:
    flood, calm = 150_000, 60
    plant = make_plant(
        flood=Writer(count=flood, per_s=50_000, maxbytes=5 << 20, backups=20),
        calm=Writer(count=calm, per_s=20),
    )
    for name in ("flood", "calm"):
        (plant.home / "log" / f"{name}.log").write_text("")
    plant.start_server()
    with (
        plant.watching({"name": "flood"}) as torrent,
        plant.watching({"name": "flood", "regex": 'line [0-9]*000"'}) as rare,
        plant.watching({"name": "calm"}) as brook,
    ):
        viewers = (torrent, rare, brook)
        while not all(viewer.cursors for viewer in viewers):
            for viewer in viewers:
                viewer.take(0.01)
        plant.start_supervisord()
        deadline = time.monotonic() + 60
        while not (
            len(torrent.numbers) + torrent.skipped >= flood
            and len(rare.numbers) >= flood // 1000 - 1
            and len(brook.numbers) >= calm
        ):
            assert time.monotonic() < deadline, (len(torrent.numbers), torrent.skipped)
            for viewer in viewers:
                viewer.take(0.01)
            assert plant.get("/healthz")["version"]
    assert brook.numbers == list(range(calm))
    assert (brook.skipped, torrent.resets, rare.resets) == (0, 0, 0)
    assert rare.numbers == list(range(1000, flood, 1000))
    assert torrent.numbers == sorted(set(torrent.numbers))
    assert len(torrent.numbers) + torrent.skipped == flood
    assert torrent.skipped > 0
    wait_until(lambda: "RUNNING" in json.dumps(plant.get("/api/v1/processes/flood")))
