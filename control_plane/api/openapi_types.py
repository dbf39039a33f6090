"""Tidies the types of the OpenAPI document: what is said twice, nowhere used, or badly named."""

import json
from collections.abc import Iterator
from typing import Any, Final

Document = dict[str, Any]

_NAMES: Final = {
    "collectors__contract__heartbeat__ConnectionStatus": "DeviceConnection",
    "control_plane__domain__process__ConnectionStatus": "ConnectionStatus",
}
"""pydantic's names for types that are called alike, and ours."""


def tidied(document: Document) -> Document:
    """Return the document with types as a reader, or a generator of code, wants them."""
    text = json.dumps(document)
    for long, short in _NAMES.items():
        text = text.replace(long, short)
    document = json.loads(text)
    components = document["components"]
    components["schemas"] = _without_titles(components["schemas"])
    _require_what_is_always_sent(document)
    used = _reachable(document, [document["paths"], components["responses"]])
    components["schemas"] = {k: v for k, v in sorted(components["schemas"].items()) if k in used}
    return document


def _require_what_is_always_sent(document: Document) -> None:
    """Defaults are for those who ask; an answer has all of its keys."""
    bodies = [
        operation.get("requestBody", {})
        for methods in document["paths"].values()
        for operation in methods.values()
    ]
    asked = _reachable(document, bodies)
    for name, schema in document["components"]["schemas"].items():
        if name not in asked and "properties" in schema:
            schema["required"] = list(schema["properties"])


def _reachable(document: Document, start: list[Any]) -> set[str]:
    """Return the types that some parts of the document need."""
    found: set[str] = set()
    waiting = list(start)
    while waiting:
        for name in _named_in(waiting.pop()):
            if name not in found and name in document["components"]["schemas"]:
                found.add(name)
                waiting.append(document["components"]["schemas"][name])
    return found


def _named_in(node: Any) -> Iterator[str]:
    """Yield the types that a schema, or something around one, refers to."""
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"].rpartition("/")[2]
        node = list(node.values())
    if isinstance(node, list):
        for each in node:
            yield from _named_in(each)


def _without_titles(node: Any) -> Any:
    """pydantic repeats each key as a title, which says nothing."""
    if isinstance(node, list):
        return [_without_titles(each) for each in node]
    if not isinstance(node, dict):
        return node
    return {
        key: _without_titles(each)
        for key, each in node.items()
        if not (key == "title" and isinstance(each, str) and ("type" in node or len(node) > 1))
    }
