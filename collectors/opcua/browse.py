"""``python -m collectors browse``: find a server's variables, ready to be pasted into a file."""

import asyncio
import fnmatch
import functools
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from asyncua import ua
from asyncua.ua.uaerrors import UaError, UaStatusCodeError

from collectors.contract.addresses import AddressError, parse_opcua_node_id
from collectors.contract.config import parse_collector
from collectors.contract.config_opcua import OpcUaCollector, OpcUaDevice
from collectors.contract.config_problems import read_toml
from collectors.contract.messages import sentence
from collectors.contract.signals import EXIT_OK
from collectors.opcua.nodes import resolve
from collectors.opcua.plan import MAX_NODES
from collectors.opcua.security import Security
from collectors.opcua.session import Session
from collectors.runtime.cli import EXIT_USAGE, PACKAGE
from collectors.runtime.driver import ConnectionLost, Traffic, home_or_default
from collectors.runtime.inspection import EXIT_BAD_VALUES, home_of

_MOST_NODES: Final = 100_000
_LONGEST_NAME: Final = 64
_LONGEST_VALUE: Final = 60
_OBJECTS: Final = ua.NodeId(ua.Int32(85))
_SERVER: Final = ua.NodeId(ua.Int32(2253))
_HIERARCHICAL: Final = ua.NodeId(ua.Int32(33))
_PROPERTY_TYPE: Final = 68
"""Properties describe variables; few of them are measurements."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A variable node.

    Attributes:
        path: Browse names from below the Objects folder, joined by dots.
        node_id: As a collector file names it.
        type: Such as ``Double`` or ``Int16[]``; empty if there is no value.
        value: What it holds now, or the name of its status if that is bad.
    """

    path: str
    node_id: str
    type: str
    value: str


def main(path: Path, device_id: str, pattern: str | None, as_json: bool, language: str) -> int:
    """Print the variables of a device.

    Returns:
        0, or 1 if the server cannot be asked, or 2 if there is no such device.

    Raises:
        ConfigError: the file cannot be used.
    """
    say = functools.partial(sentence, PACKAGE, language=language)
    config = parse_collector(with_points(read_toml(path)), file=str(path))
    if not isinstance(config, OpcUaCollector):
        print(say("browse.not_opcua", {"protocol": config.protocol}), file=sys.stderr)
        return EXIT_USAGE
    devices = {device.id: device for device in config.devices}
    if device_id not in devices:
        facts = {"file": path, "device": device_id, "known": ", ".join(devices)}
        print(say("test_read.unknown_device", facts), file=sys.stderr)
        return EXIT_USAGE
    device = devices[device_id]
    traffic = Traffic()
    security = Security(device, home_or_default(home_of(path)), traffic)
    try:
        found = asyncio.run(_browse(device, security, pattern))
    except ConnectionLost as lost:
        place = {"device": device.id, "host": device.host, "port": device.port}
        print(say("once.unreachable", place | {"reason": lost.reason}), file=sys.stderr)
        return EXIT_BAD_VALUES
    if traffic.peer_fingerprint is not None:
        shown = {"device": device.id, "fingerprint": traffic.peer_fingerprint}
        print(say("once.fingerprint", shown), file=sys.stderr)
    if as_json:
        rows = [
            {"path": f.path, "node_id": f.node_id, "type": f.type, "value": f.value} for f in found
        ]
        print(json.dumps(rows, ensure_ascii=False, indent=2))
    else:
        print(as_toml(found))
    print(say("browse.summary", {"device": device.id, "count": len(found)}), file=sys.stderr)
    return EXIT_OK


def as_toml(found: Sequence[Found]) -> str:
    """Return points for a collector file, each with a name of its own."""
    taken: set[str] = set()
    lines = []
    for variable in found:
        name = _name_of(variable.path, taken)
        lines.append(
            f"[[devices.points]]\nname = {_quoted(name)}\n"
            f"node_id = {_quoted(variable.node_id)}  # {variable.type} {variable.value}".rstrip()
            + "\n"
        )
    return "\n".join(lines)


def _name_of(path: str, taken: set[str]) -> str:
    clean = "".join("." if char == "/" or not char.isprintable() else char for char in path)
    name, number = clean[-_LONGEST_NAME:] or "?", 1
    while name in taken:
        number += 1
        suffix = f"~{number}"
        name = clean[-(_LONGEST_NAME - len(suffix)) :] + suffix
    taken.add(name)
    return name


def _quoted(text: str) -> str:
    # A basic string of TOML is one of JSON, but for a control character that JSON lets through.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def with_points(document: dict[str, Any]) -> dict[str, Any]:
    """Let a device without points pass: whoever browses is about to choose some."""
    devices = document.get("devices")
    for device in devices if isinstance(devices, list) else ():
        if isinstance(device, dict) and not device.get("points"):
            groups = device.get("groups") or [{}]
            first = groups[0] if isinstance(groups, list) and isinstance(groups[0], dict) else {}
            group = first.get("id", "default")
            device["points"] = [{"name": "time", "node_id": "i=2258", "group": group}]
    return document


async def _browse(device: OpcUaDevice, security: Security, pattern: str | None) -> list[Found]:
    session = Session(device, security, lambda _lost: None)
    try:
        await session.open()
        variables = await _variables(session)
        named = [
            (path, node_id, _text_of(node_id, session.namespaces)) for path, node_id in variables
        ]
        wanted = [one for one in named if one[2] and _matches(pattern, one[0], one[2])]
        values = await session.read([node_id for _, node_id, _ in wanted])
    except UaStatusCodeError as exc:
        raise ConnectionLost(str(exc)) from exc
    finally:
        await session.close()
    return [
        Found(path=path, node_id=text, type=_type_of(value), value=_value_of(value))
        for (path, _, text), value in zip(wanted, values, strict=True)
    ]


async def _variables(session: Session) -> list[tuple[str, ua.NodeId]]:
    """Return path and NodeId of every variable below the Objects folder, level by level."""
    variables: list[tuple[str, ua.NodeId]] = []
    seen = {_OBJECTS, _SERVER}
    level: list[tuple[str, ua.NodeId]] = [("", _OBJECTS)]
    while level and len(seen) < _MOST_NODES:
        below: list[tuple[str, ua.NodeId]] = []
        for at in range(0, len(level), session.limits.browse):
            part = level[at : at + session.limits.browse]
            answers = await _references(session, [node_id for _, node_id in part])
            for (path, _), references in zip(part, answers, strict=True):
                children = [
                    (_joined(path, reference), node_id, reference)
                    for reference in references
                    if (node_id := _target_of(reference)) not in seen
                ]
                seen.update(node_id for _, node_id, _ in children)
                below += [(child, node_id) for child, node_id, _ in children]
                variables += [(c, n) for c, n, reference in children if _is_measurement(reference)]
        level = below
    return variables


def _joined(path: str, reference: Any) -> str:
    name = str(reference.BrowseName.Name)
    return f"{path}.{name}" if path else name


def _target_of(reference: Any) -> ua.NodeId:
    # It comes as an ExpandedNodeId, which equals no NodeId.
    target = reference.NodeId
    return ua.NodeId(target.Identifier, target.NamespaceIndex, target.NodeIdType)


def _is_measurement(reference: Any) -> bool:
    if reference.NodeClass != ua.NodeClass.Variable:
        return False
    kind = reference.TypeDefinition
    return not (kind.NamespaceIndex == 0 and kind.Identifier == _PROPERTY_TYPE)


async def _references(session: Session, nodes: Sequence[ua.NodeId]) -> list[list[Any]]:
    request = ua.BrowseRequest()
    request.Parameters.RequestedMaxReferencesPerNode = ua.UInt32(MAX_NODES)
    request.Parameters.NodesToBrowse = [
        ua.BrowseDescription(
            NodeId=node_id,
            BrowseDirection=ua.BrowseDirection.Forward,
            ReferenceTypeId=_HIERARCHICAL,
            IncludeSubtypes=True,
            NodeClassMask=ua.UInt32(ua.NodeClass.Object | ua.NodeClass.Variable),
            ResultMask=ua.UInt32(ua.BrowseResultMask.All),
        )
        for node_id in nodes
    ]
    results = (await session.call(request, ua.BrowseResponse)).Results
    found = [list(result.References) for result in results]
    open_ends = {i: r.ContinuationPoint for i, r in enumerate(results) if r.ContinuationPoint}
    while open_ends:
        more = ua.BrowseNextRequest()
        more.Parameters.ReleaseContinuationPoints = False
        more.Parameters.ContinuationPoints = list(open_ends.values())
        parts = (await session.call(more, ua.BrowseNextResponse)).Parameters.Results
        for i, part in zip(list(open_ends), parts, strict=True):
            found[i] += part.References
            open_ends[i] = part.ContinuationPoint
        open_ends = {i: point for i, point in open_ends.items() if point}
    return found


def _text_of(node_id: ua.NodeId, namespaces: Sequence[str]) -> str:
    """Return a NodeId as a file names it, by its namespace's URI; empty if that cannot be done."""
    plain = node_id.to_string()
    index = node_id.NamespaceIndex
    candidates = [plain]
    if 0 < index < len(namespaces):
        candidates.insert(0, f"nsu={namespaces[index]};{plain.partition(';')[2]}")
    for text in candidates:
        try:
            if resolve(parse_opcua_node_id(text), namespaces) == node_id:
                return text
        except (AddressError, UaError):
            continue
    return ""


def _matches(pattern: str | None, path: str, node_id: str) -> bool:
    if pattern is None:
        return True
    wanted = pattern.lower()
    if not set("*?[") & set(wanted):
        wanted = f"*{wanted}*"
    return any(fnmatch.fnmatchcase(text.lower(), wanted) for text in (path, node_id))


def _type_of(value: ua.DataValue) -> str:
    if value.Value is None or value.Value.Value is None:
        return ""
    return value.Value.VariantType.name + ("[]" if value.Value.is_array else "")


def _value_of(value: ua.DataValue) -> str:
    if value.StatusCode is not None and value.StatusCode.is_bad():
        return value.StatusCode.name
    held = None if value.Value is None else value.Value.Value
    text = "" if held is None else json.dumps(held, ensure_ascii=False, default=str)
    text = "".join(char if char.isprintable() else "?" for char in text)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 1] + "…"
