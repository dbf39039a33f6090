"""What an OPC UA collector file may say, and how it is refused."""

from pathlib import Path
from typing import Any

import pytest

from collectors.contract import wire
from collectors.contract.addresses import AddressError, OpcUaAddress, parse_opcua_node_id
from collectors.contract.config import parse_collector
from collectors.contract.config_opcua import OpcUaCollector, OpcUaDevice
from collectors.contract.config_problems import ConfigError, ConfigProblem
from collectors.opcua.plan import describe, plan

FINGERPRINT = ":".join(["AB"] * 32)
SECURED = {"security_policy": "basic256sha256"}


def device_of(**keys: Any) -> OpcUaDevice:
    device = {
        "id": "plc",
        "endpoint": "opc.tcp://h:4840",
        "points": [{"name": "t", "node_id": "i=5"}],
        **keys,
    }
    document = {"name": "c", "protocol": "opcua", "devices": [device]}
    config = parse_collector(document, file="c.toml")
    assert isinstance(config, OpcUaCollector)
    return config.devices[0]


def problem_of(**keys: Any) -> ConfigProblem:
    with pytest.raises(ConfigError) as caught:
        device_of(**keys)
    (problem,) = caught.value.problems
    assert problem.key.startswith("devices[0]")
    for language in ("en", "zh-CN"):
        assert "{" not in problem.text(language)
    return problem


@pytest.fixture
def secret(tmp_path: Path) -> str:
    path = tmp_path / "secret"
    path.write_text("s3cret\n")
    path.chmod(0o600)
    return str(path)


@pytest.mark.parametrize(
    ("keys", "code", "named"),
    [
        ({"security_mode": "sign"}, "key_needs", "security_mode"),
        ({"server_fingerprint": FINGERPRINT}, "key_needs", "server_fingerprint"),
        ({**SECURED, "server_fingerprint": "AB:CD"}, "bad_fingerprint", "AB:CD"),
        ({"security_policy": "basic128rsa15"}, "not_one_of", "basic256sha256"),
        ({**SECURED, "certificate": "/etc/hostname"}, "key_needs", "private_key"),
        ({**SECURED, "certificate": "client.pem"}, "relative_path", "client.pem"),
        ({**SECURED, "certificate": "/nowhere/client.pem"}, "missing_file", "/nowhere/client.pem"),
        ({"user": "op"}, "key_needs", "password_file"),
        ({"password_env": "PW"}, "key_needs", "user"),
        ({"allow_plain_password": True}, "key_needs", "user"),
        ({"user_certificate": "/etc/hostname"}, "key_needs", "user_private_key"),
        ({"groups": [{"queue_size": 5}]}, "key_needs", "queue_size"),
        ({"groups": [{"server_deadband": True}]}, "key_needs", 'mode = "subscribe"'),
        ({"mode": "sometimes"}, "not_one_of", "poll"),
    ],
)
def test_a_bad_combination_is_refused_with_key_and_remedy(
    keys: dict[str, Any], code: str, named: str
) -> None:
    problem = problem_of(**keys)
    assert problem.code == code
    assert named in problem.text()


def test_a_password_comes_from_one_place_only(secret: str) -> None:
    problem = problem_of(user="op", password_file=secret, password_env="PW")
    assert problem.code == "keys_exclude"
    assert "password_file" in problem.text()
    assert "password_env" in problem.text()


def test_a_user_is_either_a_name_or_a_certificate(secret: str) -> None:
    problem = problem_of(
        user="op",
        password_env="PW",
        user_certificate=secret,
        user_private_key=secret,
    )
    assert problem.code == "keys_exclude"


def test_a_secret_that_others_can_read_is_refused(secret: str) -> None:
    Path(secret).chmod(0o640)
    problem = problem_of(user="op", password_file=secret)
    assert problem.code == "open_secret"
    assert f"chmod 600 {secret}" in problem.remedy()


def test_a_password_itself_is_no_key() -> None:
    assert problem_of(user="op", password_env="PW", password="s3cret").code == "unknown_key"


def test_no_text_of_a_configuration_holds_the_password(secret: str) -> None:
    device = device_of(user="op", password_file=secret)
    assert "s3cret" not in repr(device) + wire.encode(device).decode()


def test_a_group_has_the_mode_of_its_device_or_its_own() -> None:
    device = device_of(mode="subscribe", groups=[{"id": "default"}, {"id": "slow", "mode": "poll"}])
    assert [device.mode_of(group) for group in device.groups] == ["subscribe", "poll"]


@pytest.mark.parametrize(
    ("group", "publishing_s", "sampling_s", "changes_kept"),
    [
        ({}, 1.0, 1.0, 10),
        ({"publishing_interval_s": 0.5}, 0.5, 0.5, 10),
        ({"sampling_interval_s": 0.1}, 1.0, 0.1, 20),
        ({"sampling_interval_s": 0.3}, 1.0, 0.3, 10),
        ({"sampling_interval_s": 0.0}, 1.0, 0.0, 100),
        ({"sampling_interval_s": 0.1, "queue_size": 10}, 1.0, 0.1, 10),
    ],
)
def test_a_queue_holds_all_that_can_change_between_notifications(
    group: dict[str, Any], publishing_s: float, sampling_s: float, changes_kept: int
) -> None:
    (found,) = device_of(mode="subscribe", groups=[group]).groups
    assert found.publishing_s == publishing_s
    assert found.sampling_s == sampling_s
    assert found.changes_kept == changes_kept


def test_a_queue_that_would_lose_changes_is_refused() -> None:
    group = {"sampling_interval_s": 0.1, "queue_size": 9}
    problem = problem_of(mode="subscribe", groups=[group])
    assert problem.code == "short_queue"
    assert "10 or more" in problem.remedy()


def test_notifications_must_come_as_often_as_they_are_fetched() -> None:
    problem = problem_of(mode="subscribe", groups=[{"publishing_interval_s": 2.0}])
    assert problem.code == "too_slow_publishing"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("i=2258", OpcUaAddress(None, "i=2258")),
        ("ns=2;s=a;b", OpcUaAddress(None, "ns=2;s=a;b")),
        ("nsu=urn:plant:line1;s=a;b=c", OpcUaAddress("urn:plant:line1", "s=a;b=c")),
        ("nsu=http://a.org/UA/;i=7", OpcUaAddress("http://a.org/UA/", "i=7")),
    ],
)
def test_a_namespace_is_an_index_or_a_uri(text: str, address: OpcUaAddress) -> None:
    assert parse_opcua_node_id(text) == address


@pytest.mark.parametrize("text", ["ns=2;b=AQID", "b=/w==", "b=QVFJ", "b=QVE="])
def test_bytes_are_in_base64(text: str) -> None:
    assert parse_opcua_node_id(text).node_id == text


@pytest.mark.parametrize(
    "text",
    [
        "nsu=;i=1", "nsu=urn:a", "nsu=urn:a;ns=2;i=1", "nsu=urn:a;i=-1",
        "b=AQI", "b=", "ns=2;b=AQ", "b=A===", "b=QV FJ", "b=QVFJ=",
    ],
)  # fmt: skip
def test_half_a_node_id_is_refused(text: str) -> None:
    with pytest.raises(AddressError):
        parse_opcua_node_id(text)


def test_a_fingerprint_is_compared_without_its_colons() -> None:
    device = device_of(**SECURED, server_fingerprint=FINGERPRINT.lower())
    assert device.pinned_fingerprint == "AB" * 32


def test_the_plan_tells_reading_from_subscribing() -> None:
    groups = [{"id": "default"}, {"id": "live", "mode": "subscribe"}]
    points = [{"name": f"p{n}", "node_id": f"i={n}", "group": "live"} for n in range(600)]
    device = device_of(groups=groups, points=[{"name": "t", "node_id": "i=5"}, *points])
    found = {group: [describe(block) for block in blocks] for group, blocks in plan(device).items()}
    assert found == {
        "default": ["Read 1 node"],
        "live": ["Subscribe to 500 nodes", "Subscribe to 100 nodes"],
    }
