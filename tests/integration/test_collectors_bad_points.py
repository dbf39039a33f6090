"""An address that the device does not have spoils its own point and no other."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from collectors.contract.config import PROTOCOLS
from simulators.testing import RunningSimulator

ROOT = Path(__file__).parents[2]

SIGNALS = {
    "modbus_tcp": (
        "[[units]]\ngaps_readable = false\n",
        'type = "uint16", address = "holding:{n}"',
    ),
    "mitsubishi_mc": ("", 'type = "int16", address = "D{n}"'),
    "opcua": ("", 'type = "int16", address = "ns=2;i={n}"'),
}
POINTS = {
    "modbus_tcp": 'address = "holding:{n}"',
    "mitsubishi_mc": 'address = "D{n}", type = "int16"',
    "opcua": 'node_id = "ns=2;i={n}"',
}
# D12287 is the last data register of the simulated CPU.
NUMBERS = [12_270, 12_271, 12_280, 12_287]
MISSING = 12_288
CODES = {"modbus_tcp": 2, "mitsubishi_mc": 0x4031, "opcua": 0x8034_0000}


def run(command: str, *arguments: str) -> tuple[int, str]:
    result = subprocess.run(
        [sys.executable, "-m", "collectors", command, *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    return result.returncode, result.stdout


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_one_missing_address_makes_one_bad_point(tmp_path: Path, protocol: str) -> None:
    head, place = SIGNALS[protocol]
    signals = ", ".join(
        f'{{name = "s{n}", {place.format(n=n)}, wave = {{kind = "constant", value = {n % 100}}}}}'
        for n in NUMBERS
    )
    simulator_file = tmp_path / "sim.toml"
    simulator_file.write_text(f'protocol = "{protocol}"\n{head}signals = [{signals}]\n')
    with RunningSimulator(simulator_file) as simulator:
        device = f'host = "127.0.0.1"\nport = {simulator.port}'
        if protocol == "opcua":
            device = f'endpoint = "opc.tcp://127.0.0.1:{simulator.port}"'
        points = ", ".join(
            f'{{name = "p{n}", {POINTS[protocol].format(n=n)}}}' for n in (*NUMBERS, MISSING)
        )
        file = tmp_path / "line1.toml"
        file.write_text(
            f'name = "line1"\nprotocol = "{protocol}"\n'
            f'[[devices]]\nid = "plc"\n{device}\npoints = [{points}]\n'
        )
        code, output = run("once", str(file), "--json")
        values: dict[str, Any] = {row["point"]: row for row in json.loads(output)}
        assert code == 1
        for n in NUMBERS:
            assert (values[f"plc/p{n}"]["value"], values[f"plc/p{n}"]["quality"]) == (
                n % 100,
                "GOOD",
            )
        bad = values[f"plc/p{MISSING}"]
        assert (bad["value"], bad["quality"], bad["code"]) == (None, "BAD_CONFIG", CODES[protocol])

        code, output = run("test-read", str(file), f"plc/p{NUMBERS[0]}")
        assert code == 0
        assert "70" in output
        assert run("test-read", str(file), f"plc/p{MISSING}")[0] == 1
