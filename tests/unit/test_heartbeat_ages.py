"""How old what a heartbeat tells is, whatever becomes of the clocks."""

from datetime import UTC, datetime, timedelta

from collectors.contract.heartbeat import ConnectionStatus, Heartbeat
from control_plane.telemetry.heartbeats import HeartbeatAges, SeenHeartbeat

START = datetime(2026, 1, 31, 8, 0, tzinfo=UTC)
HOUR_S = 3600.0


class Machine:
    """A collector whose wall clock is set now and then; its device answered at ``answered``."""

    def __init__(self) -> None:
        self.mono = 1000.0
        self.ahead_s = 0.0
        self.sequence = 0
        self.answered: datetime | None = None
        self.ages = HeartbeatAges(lambda: self.mono)

    @property
    def wall(self) -> datetime:
        return START + timedelta(seconds=self.mono - 1000.0 + self.ahead_s)

    def beat(self, *, answers: bool) -> SeenHeartbeat:
        """Let a second pass, and return the next beat as it is seen."""
        self.mono += 1.0
        self.sequence += 1
        if answers:
            self.answered = self.wall - timedelta(seconds=0.2)
        link = ConnectionStatus(
            device_id="plc",
            device_ip="10.0.0.9",
            device_port=502,
            protocol_type="modbus",
            last_good_at=self.answered,
        )
        beat = Heartbeat(
            collector="line1",
            protocol="modbus_tcp",
            pid=42,
            started_at=START,
            sequence=self.sequence,
            sent_at=self.wall,
            config_revision="a",
            connections=(link,),
            last_data_time=self.answered,
        )
        seen = self.ages.aged("line1", 42, SeenHeartbeat(beat=beat, age_s=0.0))
        assert seen is not None
        return seen


def test_ages_are_those_of_the_heartbeat_and_grow_between_two_of_them() -> None:
    machine = Machine()
    seen = machine.beat(answers=True)
    assert (round(seen.data_age_s or 0, 1), round(seen.silent_s["plc"], 1)) == (0.2, 0.2)
    machine.mono += 3.0
    again = machine.ages.aged("line1", 42, seen)
    assert again is not None
    assert (again.age_s, round(again.silent_s["plc"], 1)) == (3.0, 3.2)


def test_a_collector_that_never_read_is_silent_since_its_start() -> None:
    machine = Machine()
    machine.mono += 60.0
    assert machine.beat(answers=False).silent_s["plc"] == 61.0


def test_a_device_that_answers_is_not_silent_after_the_clock_was_set() -> None:
    for step_s in (HOUR_S, -HOUR_S):
        machine = Machine()
        machine.beat(answers=True)
        machine.ahead_s = step_s
        assert machine.beat(answers=False).silent_s["plc"] < 2.0
        assert machine.beat(answers=True).silent_s["plc"] < 2.0


def test_a_dead_device_goes_on_being_silent_after_the_clock_was_set() -> None:
    for step_s in (HOUR_S, -HOUR_S):
        machine = Machine()
        machine.beat(answers=True)
        for _ in range(30):
            machine.beat(answers=False)
        machine.ahead_s = step_s
        for _ in range(29):
            machine.beat(answers=False)
        seen = machine.beat(answers=False)
        assert round(seen.silent_s["plc"], 1) == 60.2
        assert round(seen.data_age_s or 0, 1) == 60.2
