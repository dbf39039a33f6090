"""One process serves a whole hall: two hundred devices, each on a port of its own."""

import socket
import struct

import pytest

from simulators.testing import RunningSimulator

HALL = """
protocol = "modbus_tcp"
seed = 4
[[devices]]
id = "drive"
copies = 200
[[devices.units]]
signals = [
  {name = "speed", address = "holding:0", type = "float64", wave = {kind = "random_walk", step_s = 1e-3}},
]
[[devices]]
id = "gateway"
UNITS
"""  # noqa: E501  # TOML of one line a signal
UNIT = """
[[devices.units]]
unit_id = {unit}
signals = [{{name = "n", address = "holding:0", type = "uint16", wave = {{kind = "constant", value = {unit}}}}}]
"""  # noqa: E501  # TOML of one line a signal


@pytest.fixture(scope="module")
def hall(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hall")
    units = "".join(UNIT.format(unit=unit) for unit in range(1, 248))
    (folder / "hall.toml").write_text(HALL.replace("UNITS", units))
    with RunningSimulator(folder / "hall.toml", truth=folder / "truth.jsonl") as running:
        yield running


def read(connection, unit, count):
    connection.sendall(struct.pack(">HHHBBHH", 1, 0, 6, unit, 3, 0, count))
    with connection.makefile("rb") as stream:
        return stream.read(9 + 2 * count)[9:]


def test_two_hundred_devices_listen_on_ports_of_their_own(hall):
    assert len(hall.ports) == 201
    assert len(set(hall.ports.values())) == 201
    values = {}
    links = []
    for name, port in hall.ports.items():
        link = socket.create_connection((hall.host, port), timeout=5)
        links.append(link)
        if name != "gateway":
            values[name] = struct.unpack(">d", read(link, 1, 4))[0]
    for link in links:
        link.close()
    assert len(set(values.values())) > 190, "devices of one kind move alike"
    hall.fault("refuse", device="drive-7")
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((hall.host, hall.ports["drive-7"]), timeout=5)
    socket.create_connection((hall.host, hall.ports["drive-8"]), timeout=5).close()


def test_every_unit_behind_a_gateway_answers_for_itself(hall):
    with socket.create_connection((hall.host, hall.ports["gateway"]), timeout=5) as link:
        found = [int.from_bytes(read(link, unit, 1), "big") for unit in range(1, 248)]
    assert found == list(range(1, 248))


def test_the_truth_log_is_bounded(tmp_path):
    file = tmp_path / "sim.toml"
    file.write_text(
        'protocol = "modbus_tcp"\n[[units]]\nsignals = [{name = "n", address = "holding:0", '
        'type = "uint16", wave = {kind = "constant", value = 1}}]\n'
    )
    truth = tmp_path / "truth.jsonl"
    with RunningSimulator(file, truth=truth, truth_max_mb=1) as running:
        with socket.create_connection((running.host, running.port), timeout=5) as link:
            for _ in range(150):
                link.sendall(struct.pack(">HHHBBHH", 1, 0, 6, 1, 3, 0, 1) * 100)
                with link.makefile("rb") as stream:
                    assert len(stream.read(11 * 100)) == 1100
        running.stop()
        assert truth.stat().st_size + (tmp_path / "truth.jsonl.1").stat().st_size <= 1_300_000
        assert len(running.truth_lines()) > 5000
