"""What recovery is told of a collector: nothing that supervisord or a person is about to mend."""

from dataclasses import replace

import pytest
from alert_samples import status

from control_plane.domain.health import HealthCheckConfig, HealthCheckType, HealthStatus
from control_plane.recovery.situation import situation_of


@pytest.mark.parametrize(
    ("code", "lasted_s", "bad"),
    [
        ("process.frozen", 0.0, True),
        ("process.exited", 0.5, False),
        ("process.exited", 3.0, True),
        ("process.not_running", 5.0, False),
        ("process.not_running", 10.0, True),
    ],
)
def test_a_process_that_has_just_ended_is_left_to_supervisord(
    code: str, lasted_s: float, bad: bool
) -> None:
    seen = status(checks={HealthCheckType.PROCESS_ALIVE: (HealthStatus.CRITICAL, code, {})})
    checks = tuple(replace(each, lasted_s=lasted_s) for each in seen.health.checks)
    seen = replace(seen, health=replace(seen.health, checks=checks))
    limits = HealthCheckConfig()
    situation = situation_of(seen, limits, overrun=0.0, in_maintenance=False, disk_low=False)
    assert situation.process_bad is bad
