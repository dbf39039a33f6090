"""``/metrics`` as Prometheus reads it, and dashboards and rules that use only what is there."""

import json
import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from collectors.contract.historian_status import (
    HistorianStatus,
    LedgerStatus,
    StoreStatus,
    write_historian_status,
)
from control_plane.api.app import create_app
from control_plane.api.metrics_text import Family, exposition
from control_plane.auth.permissions import Actor, Role
from control_plane.bootstrap import ControlPlane, running
from control_plane.errors import SettingsError
from control_plane.settings import load_settings

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "docs" / "monitoring"
SOURCE = (ROOT / "control_plane" / "api" / "metrics.py").read_text(encoding="utf-8")
NAMES = set(re.findall(r'"(daq_[a-z0-9_]+)"', SOURCE))
ME = Actor(name="console:test", role=Role.ADMIN, origin="console")
COLLECTOR = """
name = "line1"
protocol = "modbus_tcp"
[[devices]]
id = "press1"
host = "127.0.0.1"
points = [{ name = "temperature", address = "holding:0" }]
"""


def write_reports(home: Path) -> None:
    now = datetime.now(UTC)
    link = {
        "device_id": "press1", "device_ip": "h", "device_port": 1, "protocol_type": "modbus",
        "is_connected": True, "requests": 100, "request_errors": 7, "round_trip_ms": 12.5,
    }  # fmt: skip
    beat = {
        "collector": "line1", "protocol": "modbus_tcp", "pid": 1, "sequence": 1,
        "started_at": now.isoformat(), "sent_at": now.isoformat(), "config_revision": "x",
        "connections": [link], "last_data_time": now.isoformat(), "good_samples": 1234,
        "samples_per_s": 9.5, "expected_samples_per_s": 10.0,
    }  # fmt: skip
    (home / "run" / "heartbeat").mkdir(parents=True, exist_ok=True)
    (home / "run" / "heartbeat" / "line1.json").write_text(json.dumps(beat))
    status = HistorianStatus(
        pid=1,
        sent_at=now,
        stores=(StoreStatus(name="embedded", url="embedded:"),),
        collectors={"line1": {"embedded": LedgerStatus(records_in=5, records_stored=5, lag_s=1.5)}},
    )
    write_historian_status(home / "run", status)


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[ControlPlane]:
    (tmp_path / "collectors.d").mkdir()
    (tmp_path / "collectors.d" / "line1.toml").write_text(COLLECTOR)
    (tmp_path / "alerts.toml").write_text("[rule.node]\nfor_s = 0\n")
    write_reports(tmp_path)
    with running(load_settings({"DAQ_HOME": str(tmp_path)})) as plane:
        plane.alerts.service.look()
        yield plane


@pytest.fixture
def client(plane: ControlPlane) -> FlaskClient:
    return create_app(plane).test_client()


def scrape(client: FlaskClient, plane: ControlPlane) -> dict[str, list[Any]]:
    token = plane.console.account_commands.create_token(ME, "prometheus", Role.VIEWER)
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200
    assert answer.content_type.startswith("text/plain; version=0.0.4")
    samples: dict[str, list[Any]] = {}
    for family in text_string_to_metric_families(answer.get_data(as_text=True)):
        assert family.documentation
        assert family.type in ("gauge", "counter")
        for sample in family.samples:
            samples.setdefault(sample.name, []).append(sample)
    return samples


def test_prometheus_reads_what_the_plant_is_like(client: FlaskClient, plane: ControlPlane) -> None:
    write_reports(plane.console.settings.home)
    samples = scrape(client, plane)
    assert set(samples) <= NAMES
    # Without supervisord there is no process whose usage could be known.
    assert NAMES - set(samples) == {
        "daq_process_cpu_percent", "daq_process_memory_bytes", "daq_process_uptime_seconds",
        "daq_process_health_score", "daq_node_answer_seconds",
    }  # fmt: skip

    def value(name: str, **labels: str) -> float:
        (found,) = (s.value for s in samples[name] if labels.items() <= s.labels.items())
        return float(found)

    assert value("daq_node_up", node="local") == 0
    assert value("daq_process_wanted", process="line1") == 1
    assert value("daq_process_health", process="line1", status="unknown") == 1
    assert value("daq_collector_requests_total", process="line1") == 100
    assert value("daq_collector_request_errors_total", process="line1") == 7
    assert value("daq_device_connected", device="press1") == 1
    assert value("daq_device_round_trip_seconds", device="press1") == pytest.approx(0.0125)
    assert value("daq_store_records_total", store="embedded", outcome="stored") == 5
    assert value("daq_alerts", severity="critical", state="firing") == 1
    assert value("daq_alert", rule="node", subject="local") == 1
    assert 0 <= value("daq_look_age_seconds") < 60


def test_strangers_read_nothing_unless_this_machine_may(
    client: FlaskClient, plane: ControlPlane, tmp_path: Path
) -> None:
    answer = client.get("/metrics")
    assert (answer.status_code, answer.json["code"]) == (401, "not_authenticated")
    home = tmp_path / "other"
    with running(load_settings({"DAQ_HOME": str(home), "DAQ_METRICS": "loopback"})) as open_plane:
        client = create_app(open_plane).test_client()
        assert client.get("/metrics").status_code == 200
        elsewhere = {"REMOTE_ADDR": "10.0.0.9"}
        assert client.get("/metrics", environ_base=elsewhere).status_code == 401
        forged = {"X-Forwarded-For": "127.0.0.1"}
        answer = client.get("/metrics", environ_base=elsewhere, headers=forged)
        assert answer.status_code == 401
    with pytest.raises(SettingsError, match="DAQ_METRICS"):
        load_settings({"DAQ_HOME": str(home), "DAQ_METRICS": "everybody"})


@given(st.text(), st.floats(allow_nan=False))
def test_any_label_and_value_comes_back_as_it_was(text: str, value: float) -> None:
    family = Family("daq_x", "gauge", "Help.")
    family.add(value, subject=text)
    storable = text.encode("utf-8", "replace").decode()
    written = exposition([family]).decode("utf-8")
    (read,) = text_string_to_metric_families(written)
    (sample,) = read.samples
    assert sample.labels == {"subject": storable}
    assert sample.value == value or math.isclose(sample.value, value)


def expressions(document: Any) -> Iterator[str]:
    """Yield every PromQL expression of a dashboard or a rule file."""
    if isinstance(document, dict):
        for key, value in document.items():
            if key in ("expr", "query") and isinstance(value, str):
                yield value
            else:
                yield from expressions(value)
    elif isinstance(document, list):
        for each in document:
            yield from expressions(each)


@pytest.mark.parametrize("file", ["grafana-dashboard.json", "prometheus-alerts.yml"])
def test_dashboard_and_rules_use_only_figures_that_exist(
    file: str, client: FlaskClient, plane: ControlPlane
) -> None:
    document = yaml.safe_load((MONITORING / file).read_text(encoding="utf-8"))
    used = [e for e in expressions(document) if "daq_" in e]
    assert len(used) > 10
    samples = scrape(client, plane)
    for expression in used:
        for name, matchers in re.findall(r"(daq_[a-z0-9_]+)(?:\{([^}]*)\})?", expression):
            assert name in NAMES, expression
            labels = set(re.findall(r"([a-z_]+)\s*(?:=~|!~|!=|=)", matchers))
            for sample in samples.get(name, []):
                assert labels <= set(sample.labels), expression


def test_every_rule_for_prometheus_says_how_bad_it_is_and_what_it_means() -> None:
    document = yaml.safe_load((MONITORING / "prometheus-alerts.yml").read_text(encoding="utf-8"))
    rules = [rule for group in document["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) > 10
    for rule in rules:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["summary"]
        assert re.fullmatch(r"\d+[sm]", rule.get("for", "0s"))
