"""CPU time of one round of checks and decisions for 500 collectors, without any input or output.

Beside it: what turning the same 500 results into JSON costs, which happens once a second anyway.
"""

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from measured_rows import Row, median_at_most, print_table
from pydantic import TypeAdapter

from collectors.contract.heartbeat import ConnectionStatus, Heartbeat
from control_plane.domain.health import HealthCheckConfig, ProcessHealth
from control_plane.domain.observation import CollectorFile, Observation, SeenCollector
from control_plane.domain.process import Desired, ProcessInfo, ProcessUsage, SupervisorState
from control_plane.domain.recovery import RecoveryConfig
from control_plane.process_view import judge_collector, view_collector
from control_plane.recovery.memory import Memory
from control_plane.recovery.policy import decide_all
from control_plane.recovery.situation import situation_of

COLLECTORS = 500
ROUNDS = 30
LIMITS = HealthCheckConfig()
NOW = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)


def seen(number: int) -> SeenCollector:
    """Return one collector; every tenth has a silent device, every fiftieth has ended."""
    name, silent, ended = f"line{number}", number % 10 == 0, number % 50 == 1
    link = ConnectionStatus(
        device_id="press1",
        device_ip=f"10.0.{number // 250}.{number % 250}",
        device_port=502,
        protocol_type="modbus",
        is_connected=not silent,
        last_connect_time=NOW - timedelta(seconds=600),
        last_good_at=NOW - timedelta(seconds=90 if silent else 0.5),
    )
    beat = Heartbeat(
        collector=name,
        protocol="modbus_tcp",
        pid=number + 1,
        started_at=NOW - timedelta(seconds=600),
        sequence=600,
        sent_at=NOW,
        config_revision="abc",
        connections=(link,),
        samples_per_s=10.0,
        expected_samples_per_s=10.0,
        last_data_time=NOW - timedelta(seconds=90 if silent else 0.5),
    )
    info = ProcessInfo(
        name=name,
        state=SupervisorState.EXITED if ended else SupervisorState.RUNNING,
        pid=None if ended else number + 1,
        started_at=NOW,
        stopped_at=None,
        exit_status=1 if ended else 0,
        spawn_error="",
    )
    usage = ProcessUsage(
        pid=number + 1,
        created_at=NOW - timedelta(seconds=600),
        cpu_percent=3.0,
        memory_mb=30.0,
        is_frozen=False,
    )
    facts = Observation(
        taken_at=NOW,
        supervisor_reachable=True,
        info=info,
        usage=None if ended else usage,
        heartbeat=beat,
        heartbeat_age_s=0.3,
        config_problem=None,
        errors_5min=0,
        uptime_s=None if ended else 600.0,
    )
    file = CollectorFile(
        name=name,
        path=Path(f"/nowhere/{name}.toml"),
        config=None,
        protocol="modbus_tcp",
        problems=(),
        revision="abc",
    )
    return SeenCollector(
        file=file, desired=Desired.RUN, facts=facts, error_count_24h=0, last_logged_error=None
    )


def main() -> None:
    plant = [seen(number) for number in range(COLLECTORS)]
    health: dict[str, ProcessHealth] = {}
    memories: dict[str, Memory] = {}
    adapter = TypeAdapter(ProcessHealth)
    checks_ms, decisions_ms, json_ms = [], [], []
    for round_number in range(ROUNDS):
        began = time.process_time_ns()
        statuses = []
        for each in plant:
            name = each.file.name
            health[name] = judge_collector(each, health.get(name), LIMITS)
            statuses.append(view_collector(each, health[name], 0, LIMITS, Path("/nowhere")))
        checked = time.process_time_ns()
        situations = [
            situation_of(status, LIMITS, overrun=0.0, in_maintenance=False, disk_low=False)
            for status in statuses
        ]
        decided = decide_all(situations, memories, RecoveryConfig(), 1000.0 + round_number)
        memories = {d.process: replace(memory, in_flight="") for d, memory in decided}
        ended = time.process_time_ns()
        for each_health in health.values():
            adapter.dump_json(each_health)
        dumped = time.process_time_ns()
        checks_ms.append((checked - began) / 1e6)
        decisions_ms.append((ended - checked) / 1e6)
        json_ms.append((dumped - ended) / 1e6)
    both = [a + b for a, b in zip(checks_ms, decisions_ms, strict=True)]
    rows = [
        Row("checks, score and view", checks_ms, "ms"),
        Row("situations and decisions", decisions_ms, "ms"),
        Row("both", both, "ms", median_at_most(50)),
        Row("the same results into JSON (peer)", json_ms, "ms"),
    ]
    print_table([(f"CPU of a round for {COLLECTORS} collectors", rows)])


if __name__ == "__main__":
    main()
