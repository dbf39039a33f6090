"""What a collector is told to read: one TOML file a collector, validated by one set of types.

The HTTP API, the command line and the collector itself all validate with :func:`load_collector`,
so a file that one of them accepts is accepted by all.
"""

import hashlib
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_type_hints

from pydantic import Field, TypeAdapter, ValidationError

from collectors.contract.config_problems import (
    ConfigError,
    read_toml,
    translate_problems,
    with_lines,
)
from collectors.contract.config_types import PROTOCOLS, AnyCollector, AnyDevice, AnyPoint

__all__ = [
    "PROTOCOLS",
    "AnyCollector",
    "AnyDevice",
    "AnyPoint",
    "known_keys",
    "load_collector",
    "parse_collector",
    "revision_of",
]

_ADAPTER: TypeAdapter[AnyCollector] = TypeAdapter(
    Annotated[AnyCollector, Field(discriminator="protocol")]
)


def load_collector(path: Path) -> AnyCollector:
    """Read and validate one collector file.

    Raises:
        ConfigError: the file is missing, not TOML, or breaks a rule; lists every problem with
            file, line, key and remedy.
    """
    document = read_toml(path)
    try:
        return _load(document, path)
    except ConfigError as exc:
        raise with_lines(exc, path) from None


def _load(document: dict[str, Any], path: Path) -> AnyCollector:
    config = parse_collector(document, file=str(path))
    if config.name != path.stem:
        raise ConfigError.single(
            str(path), "name", "name_is_not_file", {"name": config.name, "stem": path.stem}
        )
    return config


def parse_collector(document: dict[str, Any], *, file: str) -> AnyCollector:
    """Validate a parsed TOML document; ``file`` is named in the problems.

    Raises:
        ConfigError: see :func:`load_collector`.
    """
    try:
        return _ADAPTER.validate_python(document)
    except ValidationError as exc:
        raise ConfigError(translate_problems(exc, document, file, known_keys)) from None


def revision_of(path: Path) -> str:
    """Return the first 12 hex digits of the file's SHA-256, the name of this exact text."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def known_keys(protocol: str, location: tuple[str | int, ...]) -> list[str]:
    """Return the keys that are allowed at ``location`` of a document of ``protocol``."""
    types = PROTOCOLS.get(protocol)
    kind: Any = None if types is None else types.collector
    for part in location:
        if isinstance(part, str) and kind is not None:
            kind = _dataclass_inside(get_type_hints(kind).get(part))
    return [] if kind is None else [field.name for field in fields(kind)]


def _dataclass_inside(annotation: Any) -> Any:
    if is_dataclass(annotation):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _dataclass_inside(arg))), None)
