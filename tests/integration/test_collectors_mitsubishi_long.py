"""A running collector and the devices of 32 bits of an iQ-R, and its wide device numbers."""

from datetime import UTC, datetime, timedelta

import pytest
from truth_check import Truth, wrong

from collectors.contract.points import Quality
from collectors.runtime.testing import RunningCollector
from simulators.testing import RunningSimulator

MOVING = {
    "LTN0": "uint32", "LTN1023": "uint32", "LSTN5": "uint32", "LCN511": "uint32", "LZ0": "int32",
    "RD524286": "uint32", "D18430": "uint32", "ZR393214": "uint32",
}  # fmt: skip
"""The highest numbers that the simulated CPU has, and more than the narrow numbers can say."""
FORMS = [("3e", "binary"), ("4e", "binary"), ("3e", "ascii"), ("4e", "ascii")]


def simulator_file(folder, code, zr_digits="hexadecimal"):
    # A step of 65,537 changes both words, so half an old and half a new value would be noticed.
    signals = [
        f'{{name = "{address}", address = "{address}", type = "{kind}", wave = {{kind = "counter",'
        f" start = {-(10**9) if kind == 'int32' else 10**6 * n}, step = 65537, step_s = 0.01}}}}"
        for n, (address, kind) in enumerate(MOVING.items(), 1)
    ]
    for address, kind in (("LZ1", "int32"), ("LCN7", "uint32"), ("LTN7", "uint32")):
        wave = '{kind = "writable", value = 5}'
        signals.append(
            f'{{name = "{address}", address = "{address}", type = "{kind}", wave = {wave}}}'
        )
    square = '{kind = "square", period_s = 0.3}'
    signals.append(f'{{name = "LCS6", address = "LCS6", type = "bool", wave = {square}}}')
    file = folder / "sim.toml"
    listed = ",\n".join(signals)
    file.write_text(
        f'protocol = "mitsubishi_mc"\nseries = "iQ-R"\ncode = "{code}"\n'
        f'zr_digits = "{zr_digits}"\nsignals = [\n{listed}\n]\n'
    )
    return file


def collector_file(folder, port, frame, code, zr_digits="hexadecimal"):
    points = {**MOVING, "LCS6": "bool"}
    rows = [f'{{name = "{a}", address = "{a}", type = "{kind}"}}' for a, kind in points.items()]
    rows += [
        f'{{name = "{a}", address = "{a}", type = "{kind}", writable = true}}'
        for a, kind in (("LZ1", "int32"), ("LCN7", "uint32"), ("LTN7", "uint32"))
    ]
    file = folder / "line1.toml"
    listed = ",\n".join(rows)
    file.write_text(
        'name = "line1"\nprotocol = "mitsubishi_mc"\n[[devices]]\nid = "device"\n'
        f'host = "127.0.0.1"\nport = {port}\nseries = "iQ-R"\nframe = "{frame}"\n'
        f'code = "{code}"\nzr_digits = "{zr_digits}"\n'
        f"groups = [{{interval_s = 0.02}}]\npoints = [\n{listed}\n]\n"
    )
    return file


@pytest.mark.parametrize(("frame", "code"), FORMS)
def test_double_words_come_whole_and_go_back_whole(tmp_path, frame, code):
    truth = tmp_path / "truth.jsonl"
    with RunningSimulator(simulator_file(tmp_path, code), truth=truth) as simulator:
        file = collector_file(tmp_path, simulator.port, frame, code)
        with RunningCollector(file, tmp_path) as collector:
            collector.reading()
            for point, value in (("LZ1", -70_000), ("LCN7", 4_000_000_000), ("LTN7", 65_536)):
                soon = (datetime.now(UTC) + timedelta(seconds=10)).isoformat()
                target = {"device": "device", "point": point, "value": value}
                outcome = collector.command("write", **target, expires_at=soon)
                assert (outcome.state, outcome.value) == ("done", value)
            collector.beat_with(lambda beat: beat.samples > 300)
            collector.stop()
        simulator.stop()
        found = Truth(simulator.truth_lines())
    samples = collector.samples()
    assert {sample.quality for sample in samples} == {Quality.GOOD}
    assert wrong("mitsubishi_mc", samples, found) == []
    last = {sample.point: sample.value for sample in samples}
    assert last["device/LZ1"] == -70_000
    assert last["device/LCN7"] == 4_000_000_000
    assert last["device/LTN7"] == 65_536


@pytest.mark.parametrize(
    ("of_the_plc", "in_the_file"), [("decimal", "decimal"), ("decimal", "hexadecimal")]
)
def test_file_registers_in_ascii_code_are_right_only_where_the_file_says_how_the_plc_counts(
    tmp_path, of_the_plc, in_the_file
):
    with RunningSimulator(simulator_file(tmp_path, "ascii", of_the_plc)) as simulator:
        file = collector_file(tmp_path, simulator.port, "4e", "ascii", in_the_file)
        with RunningCollector(file, tmp_path) as collector:
            collector.beat_with(lambda beat: beat.samples > 300)
            collector.stop()
    found = {s.quality for s in collector.samples() if s.point == "device/ZR393214"}
    assert found == {Quality.GOOD if of_the_plc == in_the_file else Quality.BAD_DEVICE}
