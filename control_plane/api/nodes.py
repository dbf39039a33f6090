"""The machines whose supervisord this control plane drives."""

from collections import Counter
from dataclasses import asdict

from flask import Blueprint
from pydantic import BaseModel

from control_plane.api.answers import fields_of
from control_plane.api.endpoint import endpoint
from control_plane.api.errors import language_of_request
from control_plane.auth.permissions import Permission
from control_plane.bootstrap import ControlPlane
from control_plane.domain.node import NodeView

_NodeView = fields_of(NodeView)


class NodeState(_NodeView):  # type: ignore[misc, valid-type] # made from the domain's type
    """A machine; ``collectors_running`` is null while it does not answer."""

    collectors: int
    collectors_running: int | None


class NodeList(BaseModel):
    """This machine first; ``problems`` are in the node file."""

    nodes: list[NodeState]
    file: str
    problems: list[str]


def nodes_blueprint(plane: ControlPlane) -> Blueprint:
    """The route ``/api/v1/nodes``."""
    blueprint = Blueprint("nodes", __name__, url_prefix="/api/v1/nodes")

    @blueprint.get("")
    @endpoint(Permission.VIEW)
    def show() -> NodeList:
        """List the machines, whether they answer, and how many collectors they have."""
        picture = plane.monitor.picture()
        collectors = Counter(status.node for status in picture.processes.values())
        running = Counter(s.node for s in picture.processes.values() if s.pid is not None)
        language = language_of_request()
        return NodeList(
            nodes=[
                _state(node, collectors[node.name], running[node.name]) for node in picture.nodes
            ],
            file=str(plane.console.nodes.file),
            problems=[problem.text(language) for problem in plane.console.nodes.problems],
        )

    return blueprint


def _state(node: NodeView, collectors: int, running: int) -> NodeState:
    known = running if node.reachable else None
    return NodeState(**asdict(node), collectors=collectors, collectors_running=known)
