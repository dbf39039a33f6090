"""What a server tells beside what it gives when it is asked."""

import asyncio
import math
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from asyncua import ua
from asyncua.ua.uaerrors import BadServiceUnsupported

from collectors.contract.addresses import parse_opcua_node_id
from collectors.contract.points import Quality
from collectors.opcua.auditing import Auditor
from collectors.opcua.nodes import Node, Variable
from collectors.opcua.session import Limits
from collectors.opcua.values import Reading
from collectors.runtime.driver import ConnectionLost


@dataclass
class Server:
    """Gives what it holds; in the place of a session."""

    holds: dict[str, tuple[Any, int]]
    limits: Limits = field(default_factory=Limits)
    asked: list[int] = field(default_factory=list)
    error: Exception | None = None

    async def call(self, request: Any, _kind: object) -> Any:
        names = [node.NodeId.Identifier for node in request.Parameters.NodesToRead]
        self.asked.append(len(names))
        if self.error is not None:
            raise self.error
        answer = ua.ReadResponse()
        answer.Results = [
            ua.DataValue(ua.Variant(value), StatusCode=ua.StatusCode(ua.UInt32(status)))
            for value, status in (self.holds[name] for name in names)
        ]
        return answer


def nodes(names: list[str], deadband: float = 0.0) -> list[Node]:
    return [
        Node(
            Variable(
                point=f"plc/{name}",
                address=parse_opcua_node_id(f"ns=2;s={name}"),
                factor=1.0,
                offset=0.0,
                raw_deadband=deadband,
            ),
            (),
            None,
        )
        for name in names
    ]


def untold(server: Server, told: dict[int, Reading], deadband: float = 0.0) -> int:
    """Return how many changes are missed by an auditor without patience that looks twice."""
    given = nodes(list(server.holds), deadband)
    auditor = Auditor(given, server, max_age_s=1.0, patience_s=0.0)  # type: ignore[arg-type] # a server

    async def look() -> int:
        late = 0
        for _ in range(2):
            auditor._next_mono = 0.0
            late = await auditor.untold(told, ())
            time.sleep(0.001)
        return late

    return asyncio.run(look())


CASES: list[tuple[Any, int, Any, int, int]] = [
    (1.5, 0, 1.5, 0, 0),
    (1.5, 0, 1.6, 0, 1),
    (7, 0, 8, 0, 1),
    ("a", 0, "b", 0, 1),
    (True, 0, False, 0, 1),
    (math.nan, 0, math.nan, 0, 0),
    (math.nan, 0, 1.0, 0, 1),
    (math.inf, 0, math.inf, 0, 0),
    (1.5, 0, 1.5, 0x808C_0000, 1),
    # Flags of the moment, such as Overflow, are no other status.
    (1.5, 0x0480, 1.5, 0, 0),
]


@pytest.mark.parametrize(("told", "told_status", "holds", "status", "late"), CASES)
def test_only_what_differs_was_not_told(
    told: Any, told_status: int, holds: Any, status: int, late: int
) -> None:
    assert untold(Server({"a": (holds, status)}), {0: (told, told_status, 1)}) == late


def test_what_is_within_a_deadband_need_not_be_told() -> None:
    assert untold(Server({"a": (10, 0)}), {0: (12, 0, 1)}, deadband=2.0) == 0
    assert untold(Server({"a": (10, 0)}), {0: (13, 0, 1)}, deadband=2.0) == 1


def test_every_node_has_its_turn_within_the_limits_of_the_server() -> None:
    names = [f"n{i}" for i in range(70)]
    server = Server(dict.fromkeys(names, (1, 0)), limits=Limits(read=30))
    auditor = Auditor(nodes(names), server, max_age_s=1.0, patience_s=0.0)  # type: ignore[arg-type] # a server
    told: dict[int, Reading] = dict.fromkeys(range(70), (1, 0, 1))
    for _ in range(7):
        auditor._next_mono = 0.0
        assert asyncio.run(auditor.untold(told, ())) == 0
    assert server.asked == [30] * 7


@pytest.mark.parametrize(
    "error", [BadServiceUnsupported(), ConnectionLost("no answer in time", Quality.BAD_TIMEOUT)]
)
def test_a_server_that_cannot_be_asked_is_asked_once(error: Exception) -> None:
    server = Server({"a": (1, 0)}, error=error)
    assert untold(server, {0: (2, 0, 1)}) == 0
    assert server.asked == [1]


def test_a_connection_that_breaks_is_lost() -> None:
    with pytest.raises(ConnectionLost):
        untold(Server({"a": (1, 0)}, error=ConnectionLost("reset")), {0: (1, 0, 1)})
