"""A Modbus collector against simulated devices: types, framings, gateways, writes, reloads."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from collectors.contract.commands import CommandOutcome, CommandState
from collectors.contract.config import revision_of
from collectors.contract.heartbeat import ConnectionStatus, Heartbeat
from collectors.contract.points import Quality, Sample, Value
from collectors.runtime.testing import RunningCollector, eventually
from simulators.certificates import Certificate
from simulators.testing import RunningSimulator

CONSTANT = "wave = {{kind = 'constant', value = {}}}"


def signal_of(name: str, address: str, kind: str, wave: str, **more: str) -> str:
    extra = "".join(f", {key} = '{value}'" for key, value in more.items())
    return f"{{name = '{name}', address = '{address}', type = '{kind}', {wave}{extra}}}"


def words(start: int, *registers: int) -> list[str]:
    """Return signals that make the registers hold exactly these words."""
    return [
        signal_of(f"w{start + i}", f"holding:{start + i}", "uint16", CONSTANT.format(word))
        for i, word in enumerate(registers)
    ]


def holds(name: str, address: str, kind: str, value: object) -> str:
    return signal_of(name, address, kind, f"wave = {{kind = 'writable', value = {value}}}")


@contextmanager
def simulator(
    tmp_path: Path, *signals: str, head: str = "", units: tuple[int, ...] = (1,)
) -> Iterator[RunningSimulator]:
    file = tmp_path / "sim.toml"
    tables = ", ".join(
        f"{{unit_id = {unit}, signals = [\n{', '.join(signals)}\n]}}" for unit in units
    )
    file.write_text(f"protocol = 'modbus_tcp'\n{head}\nunits = [{tables}]\n")
    with RunningSimulator(file) as running:
        yield running


def device(device_id: str, port: int, *points: str, **settings: object) -> str:
    keys = {"timeout_s": 0.5, "retry": "{base_s = 0.1, max_s = 0.3, parked_max_s = 1.0}"}
    keys |= {"groups": "[{interval_s = 0.1}]", **settings}
    lines = "\n".join(f"{key} = {value}" for key, value in keys.items())
    return (
        f"[[devices]]\nid = '{device_id}'\nhost = '127.0.0.1'\nport = {port}\n{lines}\n"
        f"points = [\n{', '.join(points)}\n]\n"
    )


def point(name: str, address: str, kind: str = "uint16", **more: object) -> str:
    extra = "".join(f", {key} = {value}" for key, value in more.items())
    return f"{{name = '{name}', address = '{address}', type = '{kind}'{extra}}}"


def write_file(home: Path, *devices: str) -> Path:
    file = home / "line1.toml"
    file.write_text(
        "name = 'line1'\nprotocol = 'modbus_tcp'\nlog_level = 'debug'\n" + "".join(devices)
    )
    return file


def collector(home: Path, *devices: str) -> RunningCollector:
    return RunningCollector(write_file(home, *devices), home)


def link_of(beat: Heartbeat, device_id: str = "plc") -> ConnectionStatus:
    return next(link for link in beat.connections if link.device_id == device_id)


def newest(running: RunningCollector) -> dict[str, Sample]:
    return {sample.point.partition("/")[2]: sample for sample in running.samples()}


def write(running: RunningCollector, point_name: str, value: Value) -> CommandOutcome:
    expires_at = (datetime.now(UTC) + timedelta(seconds=30)).isoformat()
    return running.command(
        "write", device="plc", point=point_name, value=value, expires_at=expires_at
    )


# The bytes are worked out by hand from the definitions of the formats.
LAYOUTS: list[tuple[str, str, str, tuple[int, ...], Value]] = [
    ("half", "float16", "ABCD", (0x4E40,), 25.0),
    ("half swapped", "float16", "BADC", (0x404E,), 25.0),
    ("high byte", "int8h", "ABCD", (0xFE07,), -2),
    ("low byte", "uint8l", "ABCD", (0xFE87,), 0x87),
    ("bcd16", "bcd16", "ABCD", (0x1234,), 1234),
    ("bcd16 swapped", "bcd16", "DCBA", (0x3412,), 1234),
    ("bcd32", "bcd32", "ABCD", (0x1234, 0x5678), 12345678),
    ("bcd32 words", "bcd32", "CDAB", (0x5678, 0x1234), 12345678),
    ("long", "uint64", "ABCDEFGH", (0x0102, 0x0304, 0x0506, 0x0708), 0x0102030405060708),
    ("long bytes", "uint64", "BADCFEHG", (0x0201, 0x0403, 0x0605, 0x0807), 0x0102030405060708),
    ("long words", "uint64", "CDABGHEF", (0x0304, 0x0102, 0x0708, 0x0506), 0x0102030405060708),
    ("long both", "uint64", "DCBAHGFE", (0x0403, 0x0201, 0x0807, 0x0605), 0x0102030405060708),
    ("long halves", "uint64", "EFGHABCD", (0x0506, 0x0708, 0x0102, 0x0304), 0x0102030405060708),
    ("long all", "uint64", "HGFEDCBA", (0x0807, 0x0605, 0x0403, 0x0201), 0x0102030405060708),
    ("double", "float64", "GHEFCDAB", (0x0000, 0x0000, 0x0000, 0x4039), 25.0),
    ("no bcd", "bcd16", "ABCD", (0x12A4,), False),
]


def test_every_layout_of_a_register_is_read_as_it_is_meant(tmp_path: Path) -> None:
    signals: list[str] = []
    points: list[str] = []
    start = 0
    for name, kind, order, registers, _ in LAYOUTS:
        signals += words(start, *registers)
        points.append(point(name, f"holding:{start}", kind, order=f"'{order}'"))
        start += len(registers)
    points.append(point("manual", "40001"))
    points.append(point("bit", "40001.14", "bool"))
    with (
        simulator(tmp_path, *signals) as plc,
        collector(tmp_path, device("plc", plc.port, *points)) as running,
    ):
        running.beat_with(lambda b: b.samples >= len(points))
        running.stop()
        samples = newest(running)
    for name, _, _, _, value in LAYOUTS[:-1]:
        assert samples[name].value == value, name
        assert samples[name].quality is Quality.GOOD
    assert samples["no bcd"].quality is Quality.BAD_RANGE
    assert (samples["manual"].value, samples["bit"].value) == (0x4E40, True)


WRITABLE = [
    (holds("flag", "coil:3", "bool", "false"), point("flag", "coil:3", "bool", writable="true")),
    (holds("word", "holding:0", "uint16", 1), point("word", "holding:0", writable="true")),
    (
        holds("real", "holding:2", "float32", 1.5),
        point("real", "holding:2", "float32", writable="true", clamp="[-10.0, 10.0]"),
    ),
    (
        holds("scaled", "holding:4", "int16", 0),
        point("scaled", "holding:4", "int16", scale=0.1, offset=5.0, writable="true"),
    ),
    (
        "{name = 'name', address = 'holding:6', type = 'string', length = 4, "
        "wave = {kind = 'writable', value = 'alt'}}",
        point("name", "holding:6", "string", length=4, writable="true"),
    ),
    (holds("fixed", "holding:12", "uint16", 9), point("fixed", "holding:12")),
    (signal_of("wave", "holding:14", "uint16", CONSTANT.format(4)),
     point("wave", "holding:14", writable="true")),
]  # fmt: skip


def test_a_write_is_read_back_and_the_next_sample_has_it(tmp_path: Path) -> None:
    points = [text for _, text in WRITABLE]
    with (
        simulator(tmp_path, *(text for text, _ in WRITABLE)) as plc,
        collector(tmp_path, device("plc", plc.port, *points)) as running,
    ):
        running.reading()
        values: dict[str, Value] = {
            "flag": True,
            "word": 65535,
            "real": -2.5,
            "scaled": 7.5,
            "name": "Rezept",
        }
        for name, value in values.items():
            outcome = write(running, name, value)
            assert (outcome.state, outcome.code, outcome.value) == (CommandState.DONE, "", value)
        refused = {
            ("word", 65536): "does_not_fit",
            ("word", -1): "does_not_fit",
            ("word", 1.5): "does_not_fit",
            ("word", "x"): "wrong_type",
            ("flag", 1): "wrong_type",
            ("name", "too long a text"): "does_not_fit",
            ("real", 10.5): "outside_clamp",
            ("fixed", 1): "not_writable",
            ("nothing", 1): "unknown_point",
        }
        for (name, value), code in refused.items():
            outcome = write(running, name, value)
            assert (outcome.state, outcome.code) == (CommandState.REFUSED, code), name
        outcome = write(running, "wave", 5)
        assert (outcome.state, outcome.code, outcome.native_code) == ("failed", "device_refused", 2)
        before = running.beat()
        assert before is not None
        running.beat_with(lambda b: b.samples > before.samples + 2 * len(points))
        running.stop()
        samples = newest(running)
    assert {name: samples[name].value for name in values} == values
    assert not any(s.quality.is_bad for s in running.samples())


def test_a_write_of_half_a_register_leaves_the_other_half(tmp_path: Path) -> None:
    halves = (
        point("high", "holding:0", "int8h", writable="true"),
        point("low", "holding:0", "uint8l", writable="true"),
    )
    with (
        simulator(tmp_path, holds("word", "holding:0", "uint16", 0xFE07)) as plc,
        collector(tmp_path, device("plc", plc.port, *halves)) as running,
    ):
        running.reading()
        assert {name: s.value for name, s in newest(running).items()} == {"high": -2, "low": 7}
        assert write(running, "high", -5).value == -5
        assert write(running, "low", 200).value == 200
        assert write(running, "low", 256).code == "does_not_fit"
        before = running.beat()
        assert before is not None
        running.beat_with(lambda b: b.samples > before.samples + 4)
        running.stop()
    assert {name: s.value for name, s in newest(running).items()} == {"high": -5, "low": 200}


def test_commands_act_on_the_running_collector_and_show_in_its_heartbeat(tmp_path: Path) -> None:
    with (
        simulator(tmp_path, *words(0, 7)) as plc,
        collector(tmp_path, device("plc", plc.port, point("w", "holding:0"))) as running,
    ):
        first = running.reading()
        assert running.command("reduce_frequency", factor=4).state == "done"
        slower = running.beat_with(lambda b: b.frequency_factor == 4)
        assert slower.expected_samples_per_s == first.expected_samples_per_s / 4
        assert [group.interval_s for group in slower.groups] == [0.4]
        slow = running.beat_with(lambda b: b.groups[0].cycles >= 3)
        assert slow.groups[0].late_p50_ms is not None
        assert running.command("reduce_frequency", factor=1).state == "done"

        assert running.command("reset_connection", device="plc").state == "done"
        reset = running.beat_with(lambda b: b.connection_resets == 1 and link_of(b).is_connected)
        assert link_of(reset).reconnects == 1
        assert running.command("reset_connection", device="boiler").code == "unknown_device"

        assert running.command("clear_cache").state == "done"
        running.send(signal.SIGUSR2)
        running.beat_with(lambda b: b.cache_clears == 2)

        running.say(b"x" * 50_000 + b'\n{"id": "odd"}\n\xff\xfe\n')
        assert running.outcome("odd").code == "not_a_command"
        running.beat_with(lambda b: "line_too_long" in [o.code for o in b.commands])
        running.beat_with(lambda b: b.good_samples > reset.good_samples)
        running.stop()


def test_a_reload_changes_points_and_groups_without_a_new_connection(tmp_path: Path) -> None:
    two_groups = "[{interval_s = 0.1}, {id = 'slow', interval_s = 0.3}]"
    with simulator(tmp_path, *words(0, 7, 8, 9)) as plc:
        old = device("plc", plc.port, point("a", "holding:0"), point("b", "holding:1"))
        with collector(tmp_path, old) as running:
            before = running.reading()
            changed = device(
                "plc",
                plc.port,
                point("a", "holding:0"),
                point("c", "holding:2", group="'slow'", deadband=1.0),
                groups=two_groups,
            )
            revision = revision_of(write_file(tmp_path, changed))
            running.send(signal.SIGHUP)
            after = running.beat_with(
                lambda b: b.config_revision == revision and not link_of(b).bad_points
            )
            assert link_of(after).last_connect_time == link_of(before).last_connect_time
            assert link_of(after).reconnects == 0
            assert [group.group_id for group in after.groups] == ["default", "slow"]
            assert after.last_reload is not None
            assert (after.last_reload.accepted, after.last_reload.revision) == (True, revision)

            running.beat_with(lambda b: b.suppressed_samples >= 3)
            write_file(tmp_path, changed.replace("holding:2", "holding:70000"))
            running.send(signal.SIGHUP)
            refused = running.beat_with(lambda b: b.last_reload and not b.last_reload.accepted)
            assert refused.config_revision == revision
            assert refused.last_reload is not None
            assert "points[1].address" in refused.last_reload.problem
            assert link_of(refused).last_connect_time == link_of(before).last_connect_time
            running.stop()
        samples = running.samples()
    assert {s.point for s in samples} == {"plc/a", "plc/b", "plc/c"}
    assert not any(s.quality.is_bad for s in samples)
    assert len([s for s in samples if s.point == "plc/c"]) == 1


@pytest.mark.parametrize("framing", ["tcp", "rtu_over_tcp"])
def test_a_silent_unit_is_parked_and_does_not_delay_the_others(
    tmp_path: Path, framing: str
) -> None:
    units = (1, 2, 3)
    head = f"framing = '{framing}'"
    with simulator(tmp_path, *words(0, 7), head=head, units=units) as gateway:
        settings = {"timeout_s": 0.4, "framing": f"'{framing}'"}
        devices = [
            device(f"u{n}", gateway.port, point("w", "holding:0"), unit_id=n, **settings)
            for n in units
        ]
        with collector(tmp_path, *devices) as running:
            running.reading()
            gateway.fault("silent", unit=2)
            parked = running.beat_with(lambda b: link_of(b, "u2").is_parked)
            assert link_of(parked, "u2").bad_points == 1
            assert not any(link_of(parked, name).is_parked for name in ("u1", "u3"))
            since_ns = time.time_ns()
            running.beat_with(
                lambda b: link_of(b, "u1").requests > link_of(parked, "u1").requests + 25
            )
            gateway.clear()
            running.beat_with(lambda b: not any(c.bad_points for c in b.connections), 5.0)
            after = running.beat_with(lambda b: not link_of(b, "u2").is_parked)
            assert link_of(after, "u1").connection_errors == 0
            assert link_of(after, "u3").reconnects == 0
            running.stop()
        samples = running.samples()
    for name in ("u1", "u3"):
        times = [s.received_ns for s in samples if s.point == f"{name}/w"]
        assert not any(s.quality.is_bad for s in samples if s.point == f"{name}/w")
        steps_s = [(b - a) / 1e9 for a, b in pairwise(t for t in times if t > since_ns)]
        assert max(steps_s) < 0.35
    marks = [s for s in samples if s.point == "u2/w" and s.quality.is_bad]
    assert [s.quality for s in marks] == [Quality.BAD_TIMEOUT]


def test_units_of_a_gateway_share_its_connection(tmp_path: Path) -> None:
    units = tuple(range(1, 9))
    with simulator(tmp_path, *words(0, 7), units=units) as gateway:
        gateway.fault("max_connections", connections=1)
        devices = [device(f"u{n}", gateway.port, point("w", "holding:0"), unit_id=n) for n in units]
        with collector(tmp_path, *devices) as running:
            running.beat_with(lambda b: all(c.requests >= 10 for c in b.connections))
            beat = running.beat()
            assert beat is not None
            assert sum(c.connection_errors for c in beat.connections) == 0
            running.stop()


@pytest.mark.parametrize("framing", ["rtu_over_tcp", "tls"])
def test_other_framings_read_write_and_survive_a_loss(tmp_path: Path, framing: str) -> None:
    head, tls = f"framing = '{framing}'", ""
    if framing == "tls":
        for name in ("device", "ours"):
            made = Certificate(tmp_path / f"{name}.pem", tmp_path / f"{name}.key")
            made.ensure("127.0.0.1")
            made.key.chmod(0o600)
        head += "\ntls = {cert = 'device.pem', key = 'device.key', ca = 'ours.pem'}"
        tls = (
            f"{{ca = '{tmp_path}/device.pem', cert = '{tmp_path}/ours.pem', "
            f"key = '{tmp_path}/ours.key'}}"
        )
    with simulator(tmp_path, holds("w", "holding:0", "uint16", 7), head=head) as plc:
        settings: dict[str, object] = {"framing": f"'{framing}'"} | ({"tls": tls} if tls else {})
        points = [point("w", "holding:0", writable="true"), point("bad", "holding:9")]
        with collector(tmp_path, device("plc", plc.port, *points, **settings)) as running:
            running.beat_with(lambda b: link_of(b).bad_points == 1 and link_of(b).requests > 5)
            assert write(running, "w", 8).value == 8
            plc.fault("silent", for_s=1.0)
            # Whether it is seen unconnected is chance: a silent device accepts at once again.
            lost = running.beat_with(lambda b: link_of(b).connection_errors)
            running.beat_with(
                lambda b: link_of(b).is_connected and b.good_samples > lost.good_samples + 5
            )
            running.stop()
        samples = running.samples()
    assert {s.value for s in samples if s.point == "plc/w" and not s.quality.is_bad} <= {7, 8}
    assert newest(running)["w"].value == 8
    assert newest(running)["bad"].code == 2


def test_a_device_with_an_untrusted_certificate_is_not_read(tmp_path: Path) -> None:
    for name in ("device", "other", "ours"):
        made = Certificate(tmp_path / f"{name}.pem", tmp_path / f"{name}.key")
        made.ensure("127.0.0.1")
        made.key.chmod(0o600)
    head = "framing = 'tls'\ntls = {cert = 'device.pem', key = 'device.key'}"
    files = ", ".join(
        f"{key} = '{tmp_path}/{file}'"
        for key, file in (("ca", "other.pem"), ("cert", "ours.pem"), ("key", "ours.key"))
    )
    settings = {"framing": "'tls'", "tls": f"{{{files}}}"}
    with (
        simulator(tmp_path, *words(0, 7), head=head) as plc,
        collector(
            tmp_path, device("plc", plc.port, point("w", "holding:0"), **settings)
        ) as running,
    ):
        beat = running.beat_with(lambda b: link_of(b).connection_errors >= 2)
        assert "TLS" in (link_of(beat).last_error or "")
        running.stop()
    assert all(s.quality is Quality.BAD_COMM for s in running.samples())


def test_a_value_outside_its_clamp_is_never_stored_as_good(tmp_path: Path) -> None:
    wave = "wave = {kind = 'square', low = 10, high = 500, period_s = 0.5}"
    with (
        simulator(tmp_path, signal_of("w", "holding:0", "uint16", wave)) as plc,
        collector(
            tmp_path,
            device("plc", plc.port, point("w", "holding:0", clamp="[0, 100]", deadband=0.0)),
        ) as running,
    ):
        eventually(lambda: len(running.samples()) >= 6)
        running.stop()
    samples = running.samples()
    assert {(s.value, s.quality) for s in samples} == {
        (10, Quality.GOOD),
        (None, Quality.BAD_RANGE),
    }
    assert all(a.quality != b.quality for a, b in pairwise(samples))


def test_once_judges_a_value_like_the_running_collector(tmp_path: Path) -> None:
    with simulator(tmp_path, *words(0, 7, 500)) as plc:
        limits = {"clamp": "[0, 100]"}
        points = [point("in", "holding:0", **limits), point("out", "holding:1", **limits)]
        file = write_file(tmp_path, device("plc", plc.port, *points))
        result = subprocess.run(
            [sys.executable, "-m", "collectors", "once", str(file), "--json"],
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[2],
            check=False,
        )
    rows = {row["point"]: (row["value"], row["quality"]) for row in json.loads(result.stdout)}
    assert rows == {"plc/in": (7, "GOOD"), "plc/out": (None, "BAD_RANGE")}
    assert result.returncode == 1
