"""node-opcua, a client that nobody here wrote, uses the OPC UA simulator."""

import json
import os
import subprocess
import time
from datetime import datetime

import pytest
from node_peer import PEER, ROOT, install

from simulators.testing import RunningSimulator

FILE = """
protocol = "opcua"
update_s = 0.05
security_policies = ["none", "basic256sha256", "aes128_sha256_rsaoaep", "aes256_sha256_rsapss"]
users = { alice = "wonderland" }
[[signals]]
name = "level"
address = "ns=2;s=Tank1.Level"
type = "float64"
wave = { kind = "counter", step_s = 0.001 }
[[signals]]
name = "count"
address = "ns=2;s=Tank1.Count"
type = "int32"
wave = { kind = "constant", value = -7 }
[[signals]]
name = "recipe"
address = "ns=2;s=Tank1.Recipe"
type = "string"
wave = { kind = "constant", value = "基础" }
[[signals]]
name = "setpoint"
address = "ns=2;s=Tank1.Setpoint"
type = "float64"
wave = { kind = "writable", value = 1 }
"""
READ = "ns=2;s=Tank1.Level,ns=2;s=Tank1.Count,ns=2;s=Tank1.Recipe"


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    install()
    folder = tmp_path_factory.mktemp("tank")
    (folder / "tank.toml").write_text(FILE)
    with RunningSimulator(folder / "tank.toml", truth=folder / "truth.jsonl") as running:
        yield running


@pytest.mark.parametrize(
    ("policy", "user", "password"),
    [
        ("None", "", ""),
        ("Basic256Sha256", "alice", "wonderland"),
        ("Aes128_Sha256_RsaOaep", "", ""),
        ("Aes256_Sha256_RsaPss", "alice", "wonderland"),
    ],
)
def test_node_opcua_reads_writes_browses_and_subscribes(
    simulator, tmp_path, policy, user, password
):
    url = f"opc.tcp://{simulator.host}:{simulator.port}"
    command = [".ci/node.sh", "node", str(PEER / "client.js"), url, policy, user, password]
    done = subprocess.run(
        [*command, READ, "ns=2;s=Tank1.Setpoint"],
        cwd=ROOT,
        env={**os.environ, "HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["read"][1:] == [-7, "基础"]
    assert seen["status"] == ["Good"] * 3
    assert (seen["write"], seen["written"]) == ("Good", 71.25)
    assert seen["browsed"] == ["Level", "Count", "Recipe", "Setpoint"]
    changes = {(value, milliseconds(at)) for value, at in seen["changes"]}
    assert len(changes) == 10
    deadline = time.monotonic() + 5
    while not changes <= served(simulator):
        assert time.monotonic() < deadline, "it saw what was never served"
        time.sleep(0.05)


def milliseconds(at):
    return round(datetime.fromisoformat(at).timestamp() * 1000)


def served(simulator):
    """Return level and time of each update; node-opcua has milliseconds, not microseconds."""
    return {
        (line["values"]["level"], line["source_ns"] // 1_000_000)
        for line in simulator.truth_lines()
        if "level" in line.get("values", {})
    }
