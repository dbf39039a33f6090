"""What a collector is told to read: one TOML file a collector, validated by one set of types.

The HTTP API, the command line and the collector itself all validate with :func:`load_collector`,
so a file that one of them accepts is accepted by all.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from collectors.contract.config_mc import McCollector, McDevice, McPoint
from collectors.contract.config_modbus import ModbusCollector, ModbusDevice, ModbusPoint
from collectors.contract.config_opcua import OpcUaCollector, OpcUaDevice, OpcUaPoint
from collectors.contract.config_problems import (
    ConfigError,
    read_toml,
    translate_problems,
    with_lines,
)

CollectorConfig = Annotated[
    ModbusCollector | OpcUaCollector | McCollector, Field(discriminator="protocol")
]
AnyCollector = ModbusCollector | OpcUaCollector | McCollector
AnyDevice = ModbusDevice | OpcUaDevice | McDevice
AnyPoint = ModbusPoint | OpcUaPoint | McPoint
PROTOCOLS: tuple[str, ...] = tuple(
    get_args(model.model_fields["protocol"].annotation)[0] for model in get_args(AnyCollector)
)

_ADAPTER: TypeAdapter[AnyCollector] = TypeAdapter(CollectorConfig)


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
    model: Any = next(
        (m for m in get_args(AnyCollector) if m.__name__ == _MODEL_NAMES.get(protocol)), None
    )
    for part in location:
        if model is None or isinstance(part, int):
            continue
        field = model.model_fields.get(part)
        model = None if field is None else _model_inside(field.annotation)
    return [] if model is None else list(model.model_fields)


_MODEL_NAMES = {
    "modbus_tcp": "ModbusCollector",
    "opcua": "OpcUaCollector",
    "mitsubishi_mc": "McCollector",
}


def _model_inside(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _model_inside(arg))), None)
