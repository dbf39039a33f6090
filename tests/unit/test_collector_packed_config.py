"""A configuration comes out of another process as it went in, small, and with its problems."""

import asyncio
import pickle
from pathlib import Path

import pytest

from collectors.contract.config import AnyDevice, load_collector, revision_of
from collectors.contract.config_problems import ConfigError
from collectors.runtime.config_file import load_beside, load_in_fork
from collectors.runtime.config_loader import pack
from collectors.runtime.packed_config import PackedConfig, PackedDevice

TEXT = """name = "line1"
protocol = "modbus_tcp"
[[devices]]
id = "a"
host = "h"
groups = [{id = "fast", interval_s = 0.5}, {id = "slow", interval_s = 10}, {id = "empty"}]
points = [
  {name = "p", address = "holding:0", group = "fast"},
  {name = "q", address = "holding:1", group = "slow"},
]
[[devices]]
id = "b"
host = "h"
points = [{name = "p", address = "coil:0", type = "bool"}]
groups = [{}]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "line1.toml"
    path.write_text(TEXT)
    return path


def unpacked(packed: PackedDevice) -> AnyDevice:
    return packed.device.with_points(*packed.device.points)


def load(how: str, path: Path) -> PackedConfig:
    return load_in_fork(path) if how == "fork" else asyncio.run(load_beside(path))


@pytest.mark.parametrize("how", ["fork", "beside"])
def test_every_device_comes_back_as_it_was(file: Path, how: str) -> None:
    packed = load(how, file)
    config = load_collector(file)
    assert tuple(map(unpacked, packed.devices)) == config.devices
    assert packed.revision == revision_of(file)
    assert packed.config.name == "line1"
    assert [device.points for device in packed.config.devices] == [(), ()]
    assert [device.points for device in packed.devices] == [2, 1]
    assert packed.devices[0].intervals_s == (0.5, 10.0)
    assert packed.devices[0].samples_per_s == pytest.approx(2.1)


@pytest.mark.parametrize("how", ["fork", "beside"])
def test_what_is_wrong_comes_back_with_its_line(file: Path, how: str) -> None:
    file.write_text(TEXT.replace("coil:0", "spool:0"))
    with pytest.raises(ConfigError) as caught:
        load(how, file)
    (problem,) = caught.value.problems
    assert (problem.key, problem.line) == ("devices[1].points[0].address", 14)
    file.unlink()
    with pytest.raises(ConfigError) as missing:
        load(how, file)
    assert missing.value.problems[0].code == "unreadable"


def test_a_device_is_known_again_by_its_digest(file: Path) -> None:
    before = pack(load_collector(file), "1")
    again = pack(load_collector(file), "2")
    file.write_text(TEXT.replace("holding:1", "holding:2"))
    after = pack(load_collector(file), "3")
    digests = [[device.digest for device in each.devices] for each in (before, again, after)]
    assert digests[0] == digests[1]
    assert digests[0][0] != digests[2][0]
    assert digests[0][1] == digests[2][1]


def test_a_thousand_alike_points_need_little_memory(tmp_path: Path) -> None:
    file = tmp_path / "line1.toml"
    points = ", ".join(f'{{name = "r{n}", address = "holding:{n}"}}' for n in range(1000))
    file.write_text(
        f'name = "line1"\nprotocol = "modbus_tcp"\n[[devices]]\nid = "a"\nhost = "h"\n'
        f"points = [{points}]\n"
    )
    (device,) = pack(load_collector(file), "").devices
    assert len(pickle.dumps(device)) < 20_000
