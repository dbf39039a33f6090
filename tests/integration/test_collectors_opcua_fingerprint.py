"""``python -m collectors fingerprint`` tells who a server is before anything is trusted."""

import json
import os
import subprocess
import sys

import pytest

from collectors.contract.config import load_collector
from simulators.testing import RunningSimulator

SERVER = """
protocol = "opcua"
[[devices]]
id = "tank"
security_policies = ["basic256sha256", "aes256_sha256_rsapss"]
security_modes = ["sign_and_encrypt"]
signals = [
  {name = "a", type = "float64", address = "ns=2;s=a", wave = {kind = "constant", value = 1}},
]
[[devices]]
id = "plain"
security_policies = ["none"]
signals = [
  {name = "a", type = "float64", address = "ns=2;s=a", wave = {kind = "constant", value = 1}},
]
"""


@pytest.fixture(scope="module")
def simulator(tmp_path_factory):
    file = tmp_path_factory.mktemp("fingerprint") / "sim.toml"
    file.write_text(SERVER)
    with RunningSimulator(file) as running:
        yield running


def collector_file(folder, port, extra='security_policy = "basic256sha256"'):
    file = folder / "line1.toml"
    file.write_text(
        'name = "line1"\nprotocol = "opcua"\n[[devices]]\nid = "tank"\ntimeout_s = 3.0\n'
        f'endpoint = "opc.tcp://127.0.0.1:{port}"\n{extra}\n'
    )
    return file


def run(command, file, *options, language="en"):
    return subprocess.run(
        [sys.executable, "-m", "collectors", command, str(file), *options],
        capture_output=True,
        text=True,
        env={**os.environ, "DAQ_LANG": language},
        check=False,
    )


def test_what_it_prints_can_be_pasted_and_is_then_the_only_server_accepted(simulator, tmp_path):
    port = simulator.ports["tank"]
    done = run("fingerprint", collector_file(tmp_path, port))
    assert (done.returncode, done.stderr) == (0, "")
    assert "basic256sha256/signandencrypt" in done.stdout
    (line,) = [line for line in done.stdout.splitlines() if "server_fingerprint = " in line]
    point = '[[devices.points]]\nname = "a"\nnode_id = "ns=2;s=a"'
    secured = f'security_policy = "basic256sha256"\n{line.strip()}\n{point}'
    file = collector_file(tmp_path, port, secured)
    load_collector(file)
    assert run("once", file).returncode == 0
    again = run("fingerprint", file, language="zh-CN")
    assert again.returncode == 0
    assert "server_fingerprint 中的证书" in again.stdout


def test_another_certificate_than_the_pinned_one_is_shouted_and_exits_with_1(simulator, tmp_path):
    pinned = f'security_policy = "basic256sha256"\nserver_fingerprint = "{"AB" * 32}"'
    file = collector_file(tmp_path, simulator.ports["tank"], pinned)
    done = run("fingerprint", file)
    assert done.returncode == 1
    assert "ANOTHER certificate" in done.stdout
    (found,) = json.loads(run("fingerprint", file, "--json").stdout)
    assert found["is_pinned"] is False
    assert len(found["fingerprint"]) == 95
    assert found["offers"] == [
        "aes256_sha256_rsapss/signandencrypt", "basic256sha256/signandencrypt",
    ]  # fmt: skip


def test_a_server_without_a_certificate_and_one_that_is_away_are_said_in_one_line(
    simulator, tmp_path
):
    plain = run("fingerprint", collector_file(tmp_path, simulator.ports["plain"], ""))
    assert plain.returncode == 0
    assert "none" in plain.stdout
    away = run("fingerprint", collector_file(tmp_path, 1))
    assert away.returncode == 1
    assert len(away.stderr.splitlines()) == 1
    assert "127.0.0.1:1" in away.stderr


def test_check_says_which_device_accepts_any_server(tmp_path):
    point = '[[devices.points]]\nname = "a"\nnode_id = "ns=2;s=a"'
    file = collector_file(tmp_path, 4840, f'security_policy = "basic256sha256"\n{point}')
    done = run("check", file)
    assert done.returncode == 0
    assert f"python -m collectors fingerprint {file}" in done.stderr


def test_other_protocols_have_no_fingerprint(tmp_path):
    file = tmp_path / "line1.toml"
    file.write_text(
        'name = "line1"\nprotocol = "modbus_tcp"\n[[devices]]\nid = "a"\nhost = "h"\n'
        'points = [{name = "p", address = "holding:0"}]\n'
    )
    done = run("fingerprint", file)
    assert (done.returncode, done.stdout) == (2, "")
    assert "OPC UA" in done.stderr
