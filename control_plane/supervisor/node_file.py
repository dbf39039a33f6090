"""The list of other machines: ``DAQ_HOME/nodes.toml``."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from collectors.contract.config_problems import (
    ConfigError,
    ConfigProblem,
    read_toml,
    translate_problems,
)
from control_plane.domain.node import LOCAL_NODE
from control_plane.secret_files import read_secret
from control_plane.supervisor.transport import TcpAddress

MAX_NODES = 100
_URL = r"^https?://[A-Za-z0-9._\[\]:-]+/?$"


class NodeEntry(BaseModel):
    """One ``[[node]]``: where its supervisord listens, and with which credentials."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,14}$")]
    """Collectors of this machine are called ``COLLECTOR@NAME``."""
    url: Annotated[str, Field(pattern=_URL)]
    """``http`` or ``https``, host and port of its supervisord."""
    username: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f:]{1,64}$")]
    """As in its ``[inet_http_server]``."""
    password_file: Annotated[str, Field(min_length=1, max_length=400)]
    """Below DAQ_HOME, or absolute; only its owner may read it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeList:
    """Usable nodes by name, and what is wrong with the others."""

    addresses: Mapping[str, TcpAddress]
    problems: tuple[ConfigProblem, ...]


def read_node_file(path: Path, agent: str) -> NodeList:
    """Read the list; an entry that cannot be used leaves the others alone.

    Without the file there is no other machine. ``agent`` names this installation to the nodes.
    """
    if not path.exists():
        return NodeList(addresses={}, problems=())
    addresses: dict[str, TcpAddress] = {}
    problems: list[ConfigProblem] = []
    try:
        entries = _entries(path)
    except ConfigError as exc:
        return NodeList(addresses={}, problems=exc.problems)
    for number, raw in enumerate(entries):
        try:
            entry = _entry(path, number, raw)
            if entry.name in addresses:
                params = {"kind": "node", "name": entry.name}
                raise ConfigError.single(str(path), f"node[{number}].name", "duplicate", params)
            addresses[entry.name] = _address(path, number, entry, agent)
        except ConfigError as exc:
            problems += exc.problems
    return NodeList(addresses=addresses, problems=tuple(problems))


def _entries(path: Path) -> list[Any]:
    document = read_toml(path)
    for key in document:
        if key != "node":
            raise ConfigError.single(str(path), key, "unknown_key", {"near": "node"})
    entries = document.get("node", [])
    if not isinstance(entries, list):
        raise ConfigError.single(str(path), "node", "not_a_table_list", {"key": "node"})
    if len(entries) > MAX_NODES:
        params = {"actual_length": len(entries), "max_length": MAX_NODES}
        raise ConfigError.single(str(path), "node", "list_too_long", params)
    return entries


def _entry(path: Path, number: int, raw: Any) -> NodeEntry:
    try:
        entry = NodeEntry.model_validate(raw)
    except ValidationError as exc:
        found = translate_problems(exc, {}, str(path), lambda _p, _l: list(NodeEntry.model_fields))
        raise ConfigError([_inside(problem, number) for problem in found]) from None
    if entry.name == LOCAL_NODE:
        raise ConfigError.single(
            str(path), f"node[{number}].name", "reserved_name", {"name": entry.name}
        )
    return entry


def _inside(problem: ConfigProblem, number: int) -> ConfigProblem:
    key = f"node[{number}].{problem.key}" if problem.key else f"node[{number}]"
    return ConfigProblem(file=problem.file, key=key, code=problem.code, params=problem.params)


def _address(path: Path, number: int, entry: NodeEntry, agent: str) -> TcpAddress:
    where = str(path), f"node[{number}]"
    try:
        parts = urlsplit(entry.url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or not port:
        params = {"value": entry.url, "pattern": "http://HOST:PORT"}
        raise ConfigError.single(where[0], f"{where[1]}.url", "bad_pattern", params)
    return TcpAddress(
        host=host,
        port=port,
        tls=parts.scheme == "https",
        username=entry.username,
        password=read_secret(
            path.parent / entry.password_file, where[0], f"{where[1]}.password_file"
        ),
        agent=agent,
    )
