"""The description of the API says what the API does: made from it, kept, and tried at random."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask import Flask
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from control_plane.api.app import create_app
from control_plane.api.endpoint import declaration_of
from control_plane.api.errors import status_of
from control_plane.api.openapi import openapi_document
from control_plane.auth.permissions import Actor, Role
from control_plane.bootstrap import ControlPlane, running
from control_plane.settings import load_settings

KEPT = Path(__file__).parents[2] / "docs" / "openapi.json"
ME = Actor(name="console:test", role=Role.ADMIN, origin="console")
EXAMPLES = 5
CHECKED = [status_code_conformance, content_type_conformance, response_schema_conformance]
COLLECTOR = """
name = "line1"
protocol = "modbus_tcp"
[[devices]]
id = "press1"
host = "127.0.0.1"
points = [{ name = "temperature", address = "holding:0", unit = "°C" }]
"""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    home = tmp_path_factory.mktemp("home")
    (home / "collectors.d").mkdir()
    (home / "collectors.d" / "line1.toml").write_text(COLLECTOR)
    with running(load_settings({"DAQ_HOME": str(home)})) as plane:
        yield plane


@pytest.fixture(scope="module")
def app(plane: ControlPlane) -> Flask:
    return create_app(plane)


@pytest.fixture(scope="module")
def document(app: Flask) -> dict[str, Any]:
    return openapi_document(app)


def test_the_kept_description_is_the_present_one(document: dict[str, Any]) -> None:
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    assert kept == document, "docs/openapi.json is out of date; write it anew with: make openapi"


def test_every_route_is_described_with_its_permission(app: Flask, document: dict[str, Any]) -> None:
    described = {
        (method.upper(), operation["operationId"]): operation["x-permission"]
        for methods in document["paths"].values()
        for method, operation in methods.items()
    }
    declared = {
        (method, rule.endpoint.replace(".", "_")): declaration.permission
        for rule in app.url_map.iter_rules()
        if (declaration := declaration_of(app.view_functions[rule.endpoint])) is not None
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert described == declared
    for methods in document["paths"].values():
        for operation in methods.values():
            assert operation["summary"].endswith("."), operation["operationId"]


def test_every_error_that_a_route_declares_has_a_status_of_its_own(app: Flask) -> None:
    declared = {
        error
        for view in app.view_functions.values()
        if (declaration := declaration_of(view)) is not None
        for error in declaration.errors
    }
    assert len(declared) > 20
    assert [error.__name__ for error in declared if status_of(error) == 500] == ["LogsUnreadable"]


def test_both_forms_of_the_description_are_served(app: Flask, plane: ControlPlane) -> None:
    token = plane.console.account_commands.create_token(ME, "reader", Role.VIEWER)
    client, viewer = app.test_client(), {"Authorization": f"Bearer {token}"}
    assert client.get("/api/v1/openapi.json").status_code == 401
    served = client.get("/api/v1/openapi.json", headers=viewer)
    assert served.json["openapi"].startswith("3.1")
    page = client.get("/api/v1/docs", headers=viewer | {"Accept-Language": "zh"})
    assert page.mimetype == "text/html"
    assert 'lang="zh-CN"' in page.text
    assert "<script" not in page.text
    assert "style=" not in page.text
    assert "http://" not in page.text + client.get("/api/v1/docs.css", headers=viewer).text
    for name in served.json["components"]["schemas"]:
        assert f'id="type-{name}"' in page.text


OPERATIONS = [
    (path, method)
    for path, methods in json.loads(KEPT.read_text(encoding="utf-8"))["paths"].items()
    for method in methods
]


@pytest.fixture(scope="module")
def robot(plane: ControlPlane) -> dict[str, str]:
    token = plane.console.account_commands.create_token(ME, "robot", Role.ADMIN)
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def described(app: Flask, robot: dict[str, str]) -> Any:
    return schemathesis.openapi.from_wsgi("/api/v1/openapi.json", app, headers=robot)


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_whatever_is_asked_the_answer_is_as_described(
    described: Any, robot: dict[str, str], path: str, method: str, mode: GenerationMode
) -> None:
    """Asked rightly and wrongly: a wrong question is refused, never served or fallen over."""
    operation = described[path][method]
    if mode is GenerationMode.NEGATIVE and not can_be_wrong(operation):
        return

    @settings(
        max_examples=EXAMPLES,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        response = case.call(headers=robot)
        assert response.status_code != 500, response.text
        if mode is GenerationMode.NEGATIVE and response.status_code in (404, 405):
            return  # The path was what is wrong, and so it is none of ours.
        case.validate_response(response, checks=CHECKED)

    ask()


def can_be_wrong(operation: Any) -> bool:
    """Any text is a path; wrong can be what has a type."""
    return bool(operation.body) or any(each.location == "query" for each in operation.query)
