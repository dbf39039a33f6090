"""Points that no request could ever read are refused in the file, not at run time."""

from typing import Any

import pytest

from collectors.contract.config import ConfigError, parse_collector


def problem_of(device: dict[str, Any], protocol: str) -> tuple[str, str, str]:
    document = {"name": "line1", "protocol": protocol, "devices": [{"id": "press", **device}]}
    with pytest.raises(ConfigError) as caught:
        parse_collector(document, file="line1.toml")
    problem = caught.value.problems[0]
    for language in ("en", "zh-CN"):
        assert "{" not in problem.text(language)
    return problem.key, problem.code, problem.text()


def test_a_float_on_the_last_register_is_refused_with_its_end() -> None:
    point = {"name": "t", "address": "holding:65535", "type": "float32"}
    key, code, text = problem_of({"host": "h", "points": [point]}, "modbus_tcp")
    assert (key, code) == ("devices[0].points[0]", "past_end")
    assert "65536" in text


def test_a_mitsubishi_word_past_24_bits_is_refused() -> None:
    point = {"name": "t", "address": "D16777215", "type": "int32"}
    assert problem_of({"host": "h", "points": [point]}, "mitsubishi_mc")[1] == "past_end"


@pytest.mark.parametrize(
    ("protocol", "limit", "address"),
    [("modbus_tcp", "max_registers", "holding:0"), ("mitsubishi_mc", "max_words", "D0")],
)
def test_a_point_longer_than_one_request_is_refused(
    protocol: str, limit: str, address: str
) -> None:
    point = {"name": "recipe", "address": address, "type": "string", "length": 20}
    _, code, text = problem_of({"host": "h", limit: 10, "points": [point]}, protocol)
    assert code == "point_too_long"
    assert "recipe" in text
    assert limit in text


@pytest.mark.parametrize("node_id", ["ns=70000;i=1", "i=4294967296", "g=not-a-guid", "b=é"])
def test_a_node_id_that_cannot_be_encoded_is_refused(node_id: str) -> None:
    device = {"endpoint": "opc.tcp://h:4840", "points": [{"name": "t", "node_id": node_id}]}
    assert problem_of(device, "opcua")[1] == "bad_address"
