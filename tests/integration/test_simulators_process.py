"""``python -m simulators FILE`` as its users meet it: output, signals, exit codes."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from simulators.testing import RunningSimulator

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "simulators" / "demo"
PROTOCOLS = {"modbus": "modbus_tcp", "opcua": "opcua", "mitsubishi": "mitsubishi_mc"}


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "simulators", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"LC_ALL": "C"} | environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_demo_simulator_listens_and_stops_at_once_when_told(name):
    with (
        RunningSimulator(DEMO / f"sim-{name}.toml") as simulator,
        socket.create_connection((simulator.host, simulator.port), timeout=5),
    ):
        began = time.monotonic()
        assert simulator.stop() == 0
        assert time.monotonic() - began < 0.5


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_first_line_says_where_it_listens(name):
    command = [sys.executable, "-m", "simulators", str(DEMO / f"sim-{name}.toml"), "--port", "0"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        facts = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == b"", "an undisturbed simulator logs nothing more"
        assert process.wait(5) == 0
    assert facts["event"] == "listening"
    assert facts["protocol"] == PROTOCOLS[name]
    assert facts["host"] == "127.0.0.1"
    assert facts["port"] > 0


@pytest.mark.parametrize("name", PROTOCOLS)
def test_a_port_in_use_is_one_clear_sentence(name):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run(DEMO / f"sim-{name}.toml", "--port", port)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f"port {port} on 127.0.0.1 is in use by another program. "
        "Stop that program, or choose another port with --port."
    ]


def test_a_bad_file_is_refused_with_a_sentence_for_each_problem(tmp_path):
    file = tmp_path / "bad.toml"
    file.write_text(
        'protocol = "mitsubishi_mc"\nprot = 1\n[[signals]]\nname = "a"\naddress = "Q7"\n'
        'type = "int16"\nwave = { kind = "sine", period_s = 1 }\n'
    )
    result = run(file)
    assert result.returncode == 78
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f"{file}: signals[0].address: Q7 names no MELSEC device")
    assert lines[1] == f"{file}: prot: the key is unknown. Did you mean port?"
    assert f"{file}: prot: 未知的键" in run(file, LC_ALL="zh_CN.UTF-8").stderr
    assert f"{file}: prot: 未知的键" in run(file, "--lang", "zh-CN").stderr


def test_a_truth_log_that_cannot_be_written_is_one_clear_sentence(tmp_path):
    path = tmp_path / "missing" / "truth.jsonl"
    result = run(DEMO / "sim-modbus.toml", "--port", 0, "--truth", path)
    assert result.returncode == 1
    assert result.stderr.startswith(f"{path}: the truth log cannot be written: No such file")


def test_simulators_share_no_code_with_what_they_judge():
    script = (
        "import sys, simulators.modbus_tcp, simulators.mitsubishi_mc, simulators.opcua,"
        "simulators.testing, simulators.__main__\n"
        "print([m for m in sys.modules if m.split('.')[0] in ('collectors', 'control_plane')])"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
