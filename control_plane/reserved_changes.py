"""What of a collector file only an administrator may change; pure."""

from collections.abc import Iterator, Sequence
from typing import Final

from collectors.contract.config import AnyCollector

_PLACE: Final = (
    "host", "port", "unit_id", "endpoint", "network", "station", "module_io", "module_station"
)  # fmt: skip
_VALUE: Final = (
    "name", "address", "node_id", "type", "order", "length", "scale", "offset", "clamp"
)  # fmt: skip
"""Of a device and of a point: what decides where a write goes, and what is written."""
_SECRETS: Final = ("password_file", "password_env", "private_key", "user_private_key")
_RECEIVER: Final = (
    "host", "port", "endpoint", "security_policy", "security_mode", "server_fingerprint",
    "allow_plain_password",
)  # fmt: skip
"""Of a device: what names a secret, and what decides who gets it and who can read along."""


def reserved_changes(old: AnyCollector | None, new: AnyCollector | None) -> Iterator[str]:
    """Yield the audit action of each kind of change that needs an administrator.

    Who may write what is marked writable must not be who marks it; and who may choose servers must
    not choose which files of this machine are sent to them.
    """
    if _writable(new) - _writable(old):
        yield "collector.make_writable"
    if _secrets(new) - _secrets(old):
        yield "collector.name_secret"


def _writable(config: AnyCollector | None) -> set[tuple[object, ...]]:
    devices = config.devices if config else ()
    return {
        (type(device), device.id, *_of(device, _PLACE), *_of(point, _VALUE))
        for device in devices
        for point in device.points
        if point.writable
    }


def _secrets(config: AnyCollector | None) -> set[tuple[object, ...]]:
    devices = config.devices if config else ()
    return {
        (key, secret, *_of(device, _RECEIVER))
        for device in devices
        for key, secret in zip(_SECRETS, _of(device, _SECRETS), strict=True)
        if secret is not None
    }


def _of(thing: object, names: Sequence[str]) -> list[object]:
    return [getattr(thing, name, None) for name in names]
