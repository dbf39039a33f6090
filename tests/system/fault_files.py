"""The files of an installation that is to be hurt; time-outs are scaled down."""

from pathlib import Path

SCALE = 10
"""Time-outs are a tenth of the built-in ones, and heartbeats a sixth: they come each second."""
HEALTH = """
[health]
check_interval = 4
connection_timeout = 6
data_timeout = 12
startup_grace = 20
heartbeat_warning = 3
heartbeat_timeout = 5
memory_threshold = 160
cpu_threshold = 25
[recovery]
settle_s = 2
reset_base_s = 1
fleet_restarts_per_minute = 20
common_cause_least = 50
"""
RULES = """
[alerts]
gateway_collectors = 50
window_s = 5
[rule.process_state]
threshold = 6
clear_s = 1
[rule.blind]
for_s = 9
[rule.connection]
clear_s = 1
[rule.data_flow]
for_s = 6
clear_s = 1
[rule.frozen_values]
for_s = 0.5
clear_s = 1
[rule.cpu]
for_s = 9
clear_s = 3
[rule.memory]
for_s = 9
clear_s = 3
[rule.log_errors]
for_s = 6
clear_s = 3
[rule.request_errors]
for_s = 6
clear_s = 3
[rule.recovery]
for_s = 1
[rule.configuration]
for_s = 2
clear_s = 1
[rule.node]
for_s = 1
clear_s = 1
[rule.store_down]
for_s = 3
clear_s = 1
[rule.store_lag]
for_s = 6
clear_s = 3
threshold = 30
[rule.historian]
for_s = 3
[rule.disk]
for_s = 1
clear_s = 1
[[override]]
rule = "slow_look"
subject = "*"
enabled = false
"""
CHANNEL = """
[[channel]]
name = "hook"
kind = "webhook"
url = "{url}"
min_severity = "advisory"
group_s = 0
"""
UNIT = """
[[devices]]
id = "{name}"
port = 0
[[devices.units]]
unit_id = 1
[[devices.units.signals]]
name = "level"
address = "holding:0"
type = "uint16"
wave = {{ kind = "counter", start = 0, step = 1, step_s = 0.2 }}
"""
COLLECTOR = """
name = "{name}"
protocol = "modbus_tcp"
[[devices]]
id = "plc"
host = "127.0.0.1"
port = {port}
groups = [{{ id = "default", interval_s = 1.0, frozen_after_s = 5 }}]
[[devices.points]]
name = "level"
address = "holding:0"
"""


def set_up_home(home: Path, ports: dict[str, int], hook_url: str) -> None:
    """Write the files of an installation with these collectors."""
    (home / "collectors.d").mkdir(parents=True, exist_ok=True)
    for name, port in ports.items():
        text = COLLECTOR.format(name=name, port=port)
        (home / "collectors.d" / f"{name}.toml").write_text(text)
    (home / "health.toml").write_text(HEALTH)
    (home / "alerts.toml").write_text(RULES)
    (home / "channels.toml").write_text(CHANNEL.format(url=hook_url))
