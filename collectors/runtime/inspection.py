"""Look at a collector without running it: its requests, and what its devices answer now."""

import asyncio
import difflib
import functools
import json
import logging
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from collectors.contract.columns import Columns, columns_of
from collectors.contract.config import AnyCollector, AnyDevice, AnyPoint, load_collector
from collectors.contract.messages import sentence
from collectors.contract.points import Quality, Sample
from collectors.contract.signals import EXIT_OK
from collectors.runtime.cli import EXIT_USAGE, PACKAGE
from collectors.runtime.deadband import Gate
from collectors.runtime.driver import (
    ConnectionLost,
    Traffic,
    create_driver,
    describe,
    plan_of,
)
from collectors.runtime.group import rule_of
from collectors.runtime.names import NamesLoop
from collectors.runtime.packed_config import expected_samples_per_s
from collectors.runtime.table import render
from collectors.runtime.values import fault

EXIT_BAD_VALUES = 1


def check(path: Path, as_json: bool, language: str) -> int:
    """Print the requests of every poll group.

    Raises:
        ConfigError: the file cannot be used.
    """
    config = load_collector(path)
    requests = _requests(config)
    if as_json:
        print(json.dumps(requests, ensure_ascii=False, indent=2))
        return EXIT_OK
    say = functools.partial(sentence, PACKAGE, language=language)
    columns = ("device", "group", "interval_s", "request", "points", "unused")
    rows = [
        [
            request["device"],
            request["group"],
            f"{request['interval_s']:g} s",
            request["request"],
            str(len(request["points"])),
            str(request["unused"]),
        ]
        for request in requests
    ]
    print(render([say(f"column.{column}", {}) for column in columns], rows, right=(2, 4, 5)))
    facts = {
        "name": config.name,
        "devices": len(config.devices),
        "points": sum(len(device.points) for device in config.devices),
        "requests": len(requests),
        "samples_per_s": f"{sum(map(expected_samples_per_s, config.devices)):g}",
    }
    print(say("check.summary", facts))
    for device_id in _trusting(config):
        print(say("check.not_pinned", {"device": device_id, "file": path}), file=sys.stderr)
    return EXIT_OK


def _trusting(config: AnyCollector) -> list[str]:
    """Return the devices that take any server for theirs, though they check certificates."""
    if config.protocol != "opcua":
        return []
    return [
        device.id
        for device in config.devices
        if device.security_policy != "none" and device.server_fingerprint is None
    ]


def _requests(config: AnyCollector) -> list[dict[str, Any]]:
    return [
        {
            "device": device.id,
            "group": group.id,
            "interval_s": group.interval_s,
            "request": describe(config.protocol, block),
            "points": [field.point for field in block.fields],
            "unused": block.unused,
        }
        for device in config.devices
        for group in device.groups
        for block in plan_of(config.protocol, device).get(group.id, ())
    ]


def once(path: Path, only: str | None, as_json: bool, language: str) -> int:
    """Read every point once, or only ``DEVICE/POINT``, and print what came back.

    Returns:
        0 if every value is usable, 1 if not, 2 if there is no such point.

    Raises:
        ConfigError: the file cannot be used.
    """
    config = load_collector(path)
    say = functools.partial(sentence, PACKAGE, language=language)
    devices: tuple[AnyDevice, ...] = config.devices
    if only is not None:
        try:
            devices = (_pick(config, path, only),)
        except _NotInFile as exc:
            print(say(exc.code, exc.params), file=sys.stderr)
            return EXIT_USAGE
    logging.basicConfig(level=logging.ERROR)
    traffic = {device.id: Traffic() for device in devices}
    with asyncio.Runner(loop_factory=NamesLoop) as runner:
        reading = _read_all(config.protocol, devices, traffic, home_of(path))
        samples, failures = runner.run(reading)
    units = {f"{d.id}/{p.name}": p.unit for d in devices for p in d.points}
    good = sum(not sample.quality.is_bad for sample in samples)
    if as_json:
        rows = [_as_json(sample, units[sample.point]) for sample in samples]
        print(json.dumps(rows, ensure_ascii=False, indent=2))
    else:
        _print_samples(samples, units, language)
        print(say("once.summary", {"good": good, "points": len(samples)}))
    for device_id, seen in traffic.items():
        if seen.peer_fingerprint is not None:
            shown = {"device": device_id, "fingerprint": seen.peer_fingerprint}
            print(say("once.fingerprint", shown), file=sys.stderr)
    for failure in failures:
        print(say("once.unreachable", failure), file=sys.stderr)
    return EXIT_OK if good == len(samples) else EXIT_BAD_VALUES


def home_of(path: Path) -> Path | None:
    """Return DAQ_HOME if the file lies in its ``collectors.d``."""
    folder = path.resolve().parent
    return folder.parent if folder.name == "collectors.d" else None


class _NotInFile(Exception):
    def __init__(self, code: str, **params: object) -> None:
        self.code = f"test_read.{code}"
        self.params = params
        super().__init__(code)


def _pick(config: AnyCollector, path: Path, name: str) -> AnyDevice:
    """Return the device with nothing but the one point left."""
    device_id, slash, point_name = name.partition("/")
    if not slash:
        raise _NotInFile("form", text=name)
    device = next((d for d in config.devices if d.id == device_id), None)
    if device is None:
        known = ", ".join(d.id for d in config.devices)
        raise _NotInFile("unknown_device", file=path, device=device_id, known=known)
    points: tuple[AnyPoint, ...] = device.points
    for point in points:
        if point.name == point_name:
            return device.with_points(point)
    names = [point.name for point in points]
    near = difflib.get_close_matches(point_name, names, n=1)
    if near:
        raise _NotInFile("unknown_point", device=device_id, point=point_name, near=near[0])
    known = ", ".join(names[:20]) + ("…" if len(names) > 20 else "")
    raise _NotInFile("unknown_point_far", device=device_id, point=point_name, known=known)


async def _read_all(
    protocol: str,
    devices: tuple[AnyDevice, ...],
    traffic: Mapping[str, Traffic],
    home: Path | None,
) -> tuple[list[Sample], list[dict[str, Any]]]:
    """Return one sample for each point, in the order of the file, and the broken devices."""
    failures: list[dict[str, Any]] = []

    async def read(device: AnyDevice) -> dict[str, Sample]:
        found: dict[str, Sample] = {}
        driver = create_driver(protocol, device, traffic[device.id], lambda _lost: None, home)
        wanted = {point.group for point in device.points}
        gate = Gate({f"{device.id}/{point.name}": rule_of(point) for point in device.points})
        quality = Quality.BAD_COMM
        try:
            await driver.connect()
            for group in device.groups:
                if group.id in wanted:
                    reading = await driver.read(group.id)
                    columns = reading if isinstance(reading, Columns) else columns_of(reading)
                    found |= {sample.point: sample for sample in gate.clamped(columns).samples()}
        except ConnectionLost as lost:
            quality = lost.quality
            place = {"device": device.id, "host": device.host, "port": device.port}
            failures.append(place | {"reason": lost.reason})
        finally:
            await driver.close()
        now_ns = time.time_ns()
        names = [f"{device.id}/{point.name}" for point in device.points]
        return {name: found.get(name) or fault(name, quality, 0, now_ns, now_ns) for name in names}

    results = await asyncio.gather(*(read(device) for device in devices))
    return [sample for result in results for sample in result.values()], failures


def _as_json(sample: Sample, unit: str) -> dict[str, object]:
    return {
        "point": sample.point,
        "value": sample.value,
        "unit": unit,
        "quality": sample.quality.name,
        "code": sample.code,
        "source_time": _iso(sample.source_ns),
        "received_time": _iso(sample.received_ns),
    }


def _iso(at_ns: int) -> str:
    at = datetime.fromtimestamp(at_ns / 1e9, UTC)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _print_samples(samples: list[Sample], units: dict[str, str], language: str) -> None:
    say = functools.partial(sentence, PACKAGE, params={}, language=language)
    headers = [say(f"column.{key}") for key in ("point", "value", "unit", "quality", "code")]
    rows = [
        [
            sample.point,
            "-" if sample.value is None else _shown(sample.value),
            units[sample.point],
            say(f"quality.{sample.quality.name}"),
            f"0x{sample.code:X}" if sample.code else "",
        ]
        for sample in samples
    ]
    print(render(headers, rows, right=(1,)))


def _shown(value: bool | int | float | str) -> str:
    return f"{value:.9g}" if isinstance(value, float) else str(value)
