"""One simulated device with a counter and a set point, and a collector that reads it."""

from pathlib import Path

SIMULATOR = """
protocol = "modbus_tcp"
host = "127.0.0.1"
port = 0
[[units]]
unit_id = 1
[[units.signals]]
name = "level"
address = "holding:0"
type = "uint16"
wave = { kind = "counter", start = 0, step = 1, step_s = 1 }
[[units.signals]]
name = "setpoint"
address = "holding:10"
type = "int16"
wave = { kind = "writable", value = 200 }
"""
COLLECTOR = """
name = "{name}"
protocol = "modbus_tcp"
[[devices]]
id = "plc"
host = "127.0.0.1"
port = {port}
groups = [{{ id = "default", interval_s = 0.2 }}]
[[devices.points]]
name = "level"
address = "holding:0"
[[devices.points]]
name = "setpoint"
address = "holding:10"
type = "int16"
scale = 0.1
clamp = [-50, 400]
writable = true
"""


def collector_home(directory: Path, name: str, port: int) -> Path:
    """Make a DAQ_HOME with one collector in it; ``port`` is the simulator's."""
    for each in ("collectors.d", "run/heartbeat", "run/lock", "log", "spool", "history"):
        (directory / each).mkdir(parents=True, exist_ok=True)
    text = COLLECTOR.format(name=name, port=port)
    (directory / "collectors.d" / f"{name}.toml").write_text(text)
    return directory
