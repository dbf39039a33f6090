"""What a running collector has loaded: looked up in the process itself."""

import os
import signal
from pathlib import Path

import pydantic
import pytest

from collectors.runtime.testing import RunningCollector

DEVICES = {
    "modbus_tcp": 'host = "127.0.0.1"\nport = 9\npoints = [{name = "p", address = "coil:0", '
    'type = "bool", writable = true}]',
    "mitsubishi_mc": 'host = "127.0.0.1"\nport = 9\npoints = [{name = "p", address = "D0"}]',
    "opcua": 'endpoint = "opc.tcp://127.0.0.1:9"\npoints = [{name = "p", node_id = "i=2258"}]',
}
HEAVY = ("pydantic_core", "numpy", "lxml", "greenlet")
"""Of each, its shared library is in the memory map of whoever has imported it."""


def loaded(pid: int) -> set[str]:
    maps = Path(f"/proc/{pid}/maps").read_text()
    return {name for name in HEAVY if name in maps}


@pytest.mark.parametrize("protocol", DEVICES)
def test_a_collector_loads_no_library_that_it_can_do_without(tmp_path: Path, protocol: str) -> None:
    file = tmp_path / "line1.toml"
    text = f'name = "line1"\nprotocol = "{protocol}"\n[[devices]]\nid = "a"\n{DEVICES[protocol]}\n'
    file.write_text(text)
    with RunningCollector(file, tmp_path) as collector:
        collector.beat_with(lambda beat: beat.connections[0].connection_errors)
        assert loaded(collector.pid) == set()
        assert collector.command("clear_cache").state == "done"
        file.write_text(text.replace('id = "a"', 'id = "b"'))
        collector.send(signal.SIGHUP)
        collector.beat_with(lambda beat: beat.last_reload)
        file.write_text(text.replace('id = "a"', "id = 7"))
        collector.send(signal.SIGHUP)
        collector.beat_with(lambda beat: beat.last_reload and beat.last_reload.problem)
        assert loaded(collector.pid) == set()
        collector.stop()


def test_a_process_that_has_such_a_library_is_found_out() -> None:
    assert pydantic.VERSION
    assert "pydantic_core" in loaded(os.getpid())
