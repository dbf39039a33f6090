"""Against node-opcua, a server that shares no code with ours or with asyncua."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from node_peer import PEER, ROOT, install
from opcua_server import Reader, reader_of

from collectors.contract.points import Quality
from collectors.opcua import session
from collectors.runtime.driver import ConnectionLost

COUNT, LIMIT = 30, 7
"""Variables, and the most of them that the server takes in one request."""


@dataclass
class Peer:
    process: "subprocess.Popen[str]"
    port: int
    ticks: int = 0

    def tick(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("tick\n")
        self.process.stdin.flush()
        self.ticks += 1

    def expected(self) -> list[Any]:
        n = self.ticks
        kinds = [n / 2, -n, n % 2 == 1, f"压力 {n}", n % 65536, n / 4]
        return [kinds[i % len(kinds)] for i in range(COUNT)]

    def reader(self, home: Path, **keys: Any) -> Reader:
        points = [{"name": f"v{i}", "node_id": f"nsu=urn:node:plant;s=v{i}"} for i in range(COUNT)]
        return reader_of(self.port, (), home=home, points=points, timeout_s=5.0, **keys)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def peer(home: Path) -> Iterator[Peer]:
    with serving(home, COUNT, LIMIT) as peer:
        yield peer


@contextmanager
def serving(home: Path, count: int, limit: int) -> Iterator[Peer]:
    install()
    command = [".ci/node.sh", "node", str(PEER / "server.js"), str(count), "0", str(limit)]
    # It keeps its own keys where its user has its settings.
    environment = {**os.environ, "HOME": str(home), "XDG_CONFIG_HOME": str(home)}
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert process.stdout is not None
        yield Peer(process, int(process.stdout.readline()))
    finally:
        process.communicate(timeout=20)  # it ends with its standard input


@pytest.mark.parametrize("mode", ["poll", "subscribe"])
def test_every_value_arrives_within_the_limits_of_the_server(
    peer: Peer, home: Path, mode: str
) -> None:
    async def scenario() -> None:
        async with peer.reader(home, mode=mode) as reader:
            for _ in range(3):
                peer.tick()
                wanted = peer.expected()
                seen = await reader.until(
                    lambda seen, wanted=wanted: [s.value for s in seen[-COUNT:]] == wanted
                )
                assert {s.quality for s in seen} == {Quality.GOOD}
            assert reader.traffic.errors == 0
            assert reader.traffic.lost_changes == 0

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "policy", ["basic256sha256", "aes128_sha256_rsaoaep", "aes256_sha256_rsapss"]
)
def test_values_arrive_signed_and_encrypted(peer: Peer, home: Path, policy: str) -> None:
    async def scenario() -> None:
        async with peer.reader(home, security_policy=policy, mode="subscribe") as reader:
            peer.tick()
            wanted = peer.expected()
            await reader.until(lambda seen: [s.value for s in seen[-COUNT:]] == wanted)

    asyncio.run(scenario())


def test_values_go_on_through_new_keys_of_the_channel(
    peer: Peer, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "CHANNEL_LIFETIME_MS", 1000)  # renewed each 0.75 s

    async def scenario() -> None:
        keys = {"security_policy": "basic256sha256", "mode": "subscribe"}
        async with peer.reader(home, **keys) as reader:
            ends = time.monotonic() + 2.5
            while time.monotonic() < ends:
                peer.tick()
                wanted = peer.expected()
                await reader.until(
                    lambda seen, wanted=wanted: [s.value for s in seen[-COUNT:]] == wanted
                )
            assert reader.lost == []

    asyncio.run(scenario())


def test_a_user_signs_in(peer: Peer, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    login = {"security_policy": "basic256sha256", "user": "operator", "password_env": "PW"}

    async def scenario() -> None:
        async with peer.reader(home, **login) as reader:
            assert len(await reader.read()) == COUNT

    monkeypatch.setenv("PW", "s3cret")
    asyncio.run(scenario())
    monkeypatch.setenv("PW", "wrong")
    with pytest.raises(ConnectionLost):
        asyncio.run(scenario())


def test_a_browse_finds_more_than_one_answer_can_hold(home: Path) -> None:
    count = 1100
    file = home / "line1.toml"
    with serving(home, count, 2000) as peer:
        file.write_text(
            'name = "line1"\nprotocol = "opcua"\n[[devices]]\nid = "plc"\ntimeout_s = 10.0\n'
            f'endpoint = "opc.tcp://127.0.0.1:{peer.port}"\n'
        )
        command = [sys.executable, "-m", "collectors", "browse", str(file), "plc", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = {row["node_id"]: row["path"] for row in json.loads(done.stdout)}
    wanted = {f"nsu=urn:node:plant;s=v{i}": f"Plant.v{i}" for i in range(count)}
    assert wanted.items() <= found.items()
