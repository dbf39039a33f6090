"""``python -m collectors browse`` prints points that can be pasted into a collector file."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from asyncua import ua
from opcua_server import NAMESPACE, OpcUaServer

from collectors.opcua.browse import Found, as_toml


@pytest.fixture(scope="module")
def server() -> Iterator[OpcUaServer]:
    async def grow(server: OpcUaServer) -> None:
        index = server.node_id("").NamespaceIndex
        line = await server.server.nodes.objects.add_object(
            server.node_id("Line1"), f"{index}:Line1"
        )
        for number in range(5):
            cell = await line.add_object(
                server.node_id(f"Line1.Cell{number}"), f"{index}:Cell{number}"
            )
            value = ua.Variant(20.5 + number, ua.VariantType.Float)
            node_id = server.node_id(f"Line1.Cell{number}.Temperature")
            variable = await cell.add_variable(node_id, f"{index}:Temperature", value)
            await variable.add_property(index, "Unit", "°C")
        note = ua.Variant('a "quoted"\nnote', ua.VariantType.String)
        await line.add_variable(server.node_id("Line1.Note"), f"{index}:A/B", note)
        profile = ua.Variant([1, 2], ua.VariantType.Int16)
        await line.add_variable(ua.NodeId(77, index), f"{index}:Profile", profile)

    with OpcUaServer(names=()) as server:
        server.run(grow(server))
        yield server


def browse(server: OpcUaServer, folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    file = folder / "line1.toml"
    file.write_text(
        'name = "line1"\nprotocol = "opcua"\n[[devices]]\nid = "plc"\n'
        f'endpoint = "opc.tcp://127.0.0.1:{server.port}"\ntimeout_s = 3.0\n'
        '[[devices.groups]]\nid = "fast"\n'
    )
    command = [sys.executable, "-m", "collectors", "browse", str(file), *options]
    environment = {**os.environ, "DAQ_LANG": "en"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_the_variables_are_printed_as_points_of_the_file(
    server: OpcUaServer, tmp_path: Path
) -> None:
    done = browse(server, tmp_path, "plc")
    assert done.returncode == 0, done.stderr
    assert "7 variables of plc." in done.stderr
    points = tomllib.loads(f"[[devices]]\n{done.stdout}")["devices"][0]["points"]
    assert {point["name"]: point["node_id"] for point in points} == {
        **{
            f"Line1.Cell{n}.Temperature": f"nsu={NAMESPACE};s=Line1.Cell{n}.Temperature"
            for n in range(5)
        },
        "Line1.A.B": f"nsu={NAMESPACE};s=Line1.Note",
        "Line1.Profile": f"nsu={NAMESPACE};i=77",
    }
    assert "# Float 21.5" in done.stdout
    assert "# Int16[] [1, 2]" in done.stdout


def test_a_filter_chooses_by_part_or_by_pattern(server: OpcUaServer, tmp_path: Path) -> None:
    for pattern, count in (("cell3", 1), ("*.TEMPERATURE", 5), ("i=77", 1), ("nothing", 0)):
        done = browse(server, tmp_path, "plc", "--filter", pattern, "--json")
        assert len(json.loads(done.stdout)) == count, pattern


def test_a_device_that_is_not_in_the_file_is_named(server: OpcUaServer, tmp_path: Path) -> None:
    done = browse(server, tmp_path, "plx")
    assert done.returncode == 2
    assert "It has: plc." in done.stderr


def test_a_server_that_is_away_is_said_in_one_line(server: OpcUaServer, tmp_path: Path) -> None:
    (tmp_path / "line1.toml").write_text(
        'name = "line1"\nprotocol = "opcua"\n[[devices]]\nid = "plc"\n'
        'endpoint = "opc.tcp://127.0.0.1:1"\n'
    )
    command = [sys.executable, "-m", "collectors", "browse", str(tmp_path / "line1.toml"), "plc"]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "DAQ_LANG": "en"}, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "plc (127.0.0.1:1): Connection refused\n"


def test_names_are_short_enough_and_each_its_own() -> None:
    path = "Plant." + "x" * 80
    found = [Found(path=path, node_id=f"ns=2;i={i}", type="Double", value="1.0") for i in range(3)]
    points = tomllib.loads(f"[[devices]]\n{as_toml(found)}")["devices"][0]["points"]
    names = [point["name"] for point in points]
    assert len(set(names)) == 3
    assert max(map(len, names)) == 64
