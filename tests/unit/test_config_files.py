"""A collector file that cannot work is refused, with the place and what to do."""

import os
from pathlib import Path

import pytest

from collectors.contract.config import load_collector
from collectors.contract.config_problems import ConfigError, read_toml
from collectors.contract.messages import LANGUAGES
from control_plane.secret_files import read_secret


@pytest.mark.parametrize("number", ["1" * 4301, "-" + "1" * 100_000, "0x" + "f" * 5000])
def test_an_integer_of_thousands_of_digits_is_reported_as_not_toml(
    tmp_path: Path, number: str
) -> None:
    file = tmp_path / "line1.toml"
    file.write_text("port = " + number)
    with pytest.raises(ConfigError) as caught:
        read_toml(file)
    (problem,) = caught.value.problems
    assert (problem.code, problem.file) == ("not_toml", str(file))
    assert "4300 digits" in problem.message("en")
    assert "4300 digits" in problem.message("zh-CN")


def test_a_named_pipe_is_refused_before_anybody_waits_for_it(tmp_path: Path) -> None:
    pipe = tmp_path / "line1.toml"
    os.mkfifo(pipe, 0o600)
    server = 'endpoint = "opc.tcp://127.0.0.1"\nuser = "me"\n'
    points = 'points = [{name = "a", node_id = "i=2258"}]\n'
    file = tmp_path / "line2.toml"
    file.write_text(
        'name = "line2"\nprotocol = "opcua"\n[[devices]]\nid = "plc"\n'
        f'{server}password_file = "{pipe}"\n{points}'
    )
    for path, key in ((pipe, ""), (file, "devices[0].password_file")):
        with pytest.raises(ConfigError) as caught:
            load_collector(path)
        (problem,) = caught.value.problems
        assert (problem.code, problem.key) == ("not_a_file", key)
        assert str(pipe) in problem.message("en")
    with pytest.raises(ConfigError) as caught:
        read_secret(pipe, "nodes.toml", "password_file")
    assert caught.value.problems[0].code == "not_a_file"


HEAD = 'name = "line1"\nprotocol = "modbus_tcp"\n'
DEVICE = '[[devices]]\nid = "plc"\nhost = "10.0.0.1"\n'
POINT = '{name = "a", address = "holding:0"}'


def modbus(*points: str, device: str = DEVICE, more: str = "") -> str:
    return f"{HEAD}{device}{more}\npoints = [{', '.join(points or (POINT,))}]\n"


def point(address: str, name: str = "a", **keys: object) -> str:
    extra = "".join(f", {key} = {value}" for key, value in keys.items())
    return f'{{name = "{name}", address = "{address}"{extra}}}'


REFUSED: dict[str, tuple[str, str, str, str]] = {
    "unknown key": (
        modbus(point("holding:0", dedband=1)), "devices[0].points[0].dedband", "unknown_key",
        "deadband",
    ),
    "unknown key of a device": (
        modbus(more="conections = 2"), "devices[0].conections", "unknown_key", "connections",
    ),
    "address of no table": (
        modbus(point("register:0")), "devices[0].points[0].address", "bad_address", "holding:100",
    ),
    "address past the end": (
        modbus(point("holding:70000")), "devices[0].points[0].address", "bad_address", "65535",
    ),
    "last register of a long value": (
        modbus(point("holding:65534", type='"float64"')), "devices[0].points[0]", "past_end",
        "lower address",
    ),
    "manual's number zero": (
        modbus(point("40000")), "devices[0].points[0].address", "bad_address", "begin with 1",
    ),
    "bit of a coil": (
        modbus(point("coil:1.2", type='"bool"')), "devices[0].points[0].address", "bad_address",
        ".15",
    ),
    "number in a coil": (modbus(point("coil:1")), "devices[0].points[0]", "type_mismatch", "bool"),
    "two points of one name": (
        modbus(point("holding:0"), point("holding:1")), "devices[0].points[1].name", "duplicate",
        "own name",
    ),
    "two devices of one name": (
        modbus() + modbus().removeprefix(HEAD), "devices[1].id", "duplicate", "name",
    ),
    "overlapping writable points": (
        modbus(
            point("holding:0", "a", type='"int32"', writable="true"),
            point("holding:1", "b", writable="true"),
        ),
        "devices[0].points[1].address", "overlap", "at most one",
    ),
    "a writable bit inside a writable register": (
        modbus(
            point("holding:4", "a", writable="true"),
            point("holding:4.3", "b", type='"bool"', writable="true"),
        ),
        "devices[0].points[1].address", "overlap", "at most one",
    ),
    "writable input": (
        modbus(point("input:0", writable="true")), "devices[0].points[0]", "read_only_table",
        "holding",
    ),
    "clamp the wrong way round": (
        modbus(point("holding:0", clamp="[5, 1]")), "devices[0].points[0]", "bad_clamp", "lowest",
    ),
    "negative deadband": (
        modbus(point("holding:0", deadband=-1)), "devices[0].points[0].deadband", "too_small", "0",
    ),
    "order of eight bytes for four": (
        modbus(point("holding:0", type='"int32"', order='"HGFEDCBA"')), "devices[0].points[0]",
        "long_order", "ABCD",
    ),
    "a string longer than a request": (
        modbus(point("holding:0", type='"string"', length=20), more="max_registers = 10"),
        "devices[0].points[0]", "point_too_long", "max_registers",
    ),
    "interval of a millisecond": (
        modbus(more="groups = [{interval_s = 0.001}]"), "devices[0].groups[0].interval_s",
        "too_small", "0.01",
    ),
    "phase in words": (
        modbus(more='groups = [{phase_s = "late"}]'), "devices[0].groups[0].phase_s",
        "not_number", "number",
    ),
    "tls without certificates": (modbus(more='framing = "tls"'), "devices[0]", "tls_needed", "ca"),
    "certificates without tls": (
        modbus(more='tls = {ca = "FILE", cert = "FILE", key = "SECRET"}'), "devices[0].tls",
        "bad_certificate", "PEM",
    ),
    "missing certificate": (
        modbus(more='framing = "tls"\ntls = {ca = "/no/ca.pem", cert = "FILE", key = "SECRET"}'),
        "devices[0].tls.ca", "missing_file", "put the file there",
    ),
    "key that everybody can read": (
        modbus(more='framing = "tls"\ntls = {ca = "FILE", cert = "FILE", key = "FILE"}'),
        "devices[0].tls.key", "open_secret", "chmod 600",
    ),
    "two units that disagree on their gateway": (
        modbus(more="connections = 1")
        + modbus(device=DEVICE.replace("plc", "b")).removeprefix(HEAD),
        "", "different_gateway", "connection",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_work_is_refused_with_its_place_and_remedy(tmp_path: Path, name: str) -> None:
    text, key, code, words = REFUSED[name]
    (tmp_path / "file").write_text("no certificate")
    (tmp_path / "secret").write_text("no key")
    (tmp_path / "secret").chmod(0o600)
    file = tmp_path / "line1.toml"
    file.write_text(
        text.replace("FILE", f"{tmp_path}/file").replace("SECRET", f"{tmp_path}/secret")
    )
    with pytest.raises(ConfigError) as caught:
        load_collector(file)
    found = {(problem.key, problem.code): problem for problem in caught.value.problems}
    problem = found[key, code]
    assert problem.file == str(file)
    assert words in problem.remedy("en")
    for language in LANGUAGES:
        text = problem.text(language)
        assert text.startswith(str(file))
        assert "{" not in text.replace(DEVICE, "").partition("tls = {")[0]
    assert problem.message("en") != problem.message("zh-CN")


def test_all_keys_together_are_accepted(tmp_path: Path) -> None:
    file = tmp_path / "line1.toml"
    keys = {
        "type": '"float32"', "order": '"CDAB"', "scale": 0.1, "offset": -40.0, "deadband": 0.2,
        "max_silence_s": 30.0, "clamp": "[-50, 400]", "writable": "true", "unit": '"°C"',
    }  # fmt: skip
    device = (
        'unit_id = 3\nframing = "rtu_over_tcp"\nconnections = 1\nmin_request_gap_s = 0.01\n'
        'groups = [{phase_s = "auto"}, {id = "slow", interval_s = 5, phase_s = 1.5}]\n'
        "retry = {base_s = 0.5, max_s = 2, parked_max_s = 60}"
    )
    file.write_text(modbus(point("holding:0", **keys), more=device))
    config = load_collector(file)
    (read,) = config.devices[0].points
    assert (read.deadband, read.clamp, read.writable) == (0.2, (-50.0, 400.0), True)
    assert [group.phase_s for group in config.devices[0].groups] == [None, 1.5]


def test_writable_halves_of_one_register_do_not_overlap(tmp_path: Path) -> None:
    file = tmp_path / "line1.toml"
    halves = [
        point("holding:4", "h", type='"int8h"', writable="true"),
        point("holding:4", "l", type='"uint8l"', writable="true"),
    ]
    file.write_text(modbus(*halves))
    assert len(load_collector(file).devices[0].points) == 2
    file.write_text(modbus(*halves, point("holding:4.8", "b", type='"bool"', writable="true")))
    with pytest.raises(ConfigError) as caught:
        load_collector(file)
    assert [problem.code for problem in caught.value.problems] == ["overlap"]


def test_writable_bits_of_one_register_do_not_overlap(tmp_path: Path) -> None:
    bits = [
        point(f"holding:4.{bit}", f"b{bit}", type='"bool"', writable="true") for bit in range(16)
    ]
    file = tmp_path / "line1.toml"
    file.write_text(modbus(*bits))
    assert len(load_collector(file).devices[0].points) == 16
