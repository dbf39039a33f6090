"""What a collector file may say about OPC UA servers."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal
from urllib.parse import urlsplit

from collectors.contract.addresses import parse_opcua_node_id
from collectors.contract.config_base import (
    Collector,
    Device,
    Point,
    PollGroup,
    Seconds,
    address_text,
)
from collectors.contract.config_files import ReadableFile, SecretFile
from collectors.contract.limits import Fault, Limits, Rejected

Mode = Literal["poll", "subscribe"]
SecurityPolicy = Literal[
    "none", "basic256sha256", "aes128_sha256_rsaoaep", "aes256_sha256_rsapss"
]  # fmt: skip
SecurityMode = Literal["sign", "sign_and_encrypt"]

MIN_QUEUE = 10
"""A server under load sends late, and what changes meanwhile must find room."""
FASTEST_QUEUE = 100
"""Changes that a server keeps for us where it samples as fast as it can."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpcUaPoint(Point):
    """One variable node; its type is the server's."""

    node_id: Annotated[str, address_text(parse_opcua_node_id)]
    """As the server names it: ``ns=3;s="Motor"."Speed"``, ``ns=2;i=1001``, ``i=2258``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpcUaGroup(PollGroup):
    """Points that are read together, or that the server tells the changes of.

    Of a subscribed group every change is kept, and is fetched each ``interval_s``.
    """

    mode: Mode | None = None
    """The device's, unless given."""
    publishing_interval_s: Annotated[Seconds, Limits(ge=0.01)] | None = None
    """How often the server sends changes; ``interval_s`` unless given."""
    sampling_interval_s: Annotated[float, Limits(ge=0, le=86400)] | None = None
    """How often the server looks for changes, 0 as often as it can; as it sends unless given."""
    queue_size: Annotated[int, Limits(ge=1, le=10_000)] | None = None
    """Changes of a point that the server keeps until it sends them."""
    server_deadband: bool = False
    """Let the server withhold changes that are within a point's ``deadband``."""

    @property
    def publishing_s(self) -> float:
        return self.publishing_interval_s or self.interval_s

    @property
    def sampling_s(self) -> float:
        given = self.sampling_interval_s
        return self.publishing_s if given is None else given

    @property
    def changes_kept(self) -> int:
        """What is asked of the server: at least twice what can change between notifications."""
        if self.queue_size is not None:
            return self.queue_size
        return FASTEST_QUEUE if self.sampling_s == 0 else max(MIN_QUEUE, 2 * self._changes)

    @property
    def _changes(self) -> int:
        return math.ceil(round(self.publishing_s / self.sampling_s, 6)) if self.sampling_s else 1

    def __post_init__(self) -> None:
        if self.publishing_s > self.interval_s:
            raise _clash("too_slow_publishing", publishing_s=self.publishing_s, le=self.interval_s)
        if self.queue_size is not None and self.queue_size < self._changes:
            raise _clash("short_queue", queue_size=self.queue_size, ge=self._changes)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpcUaDevice(Device):
    """An OPC UA server."""

    endpoint: Annotated[str, Limits(pattern=r"^opc\.tcp://[^\s/@]+(/\S*)?$")]
    """``opc.tcp://HOST:PORT/PATH``; port 4840 unless given."""
    mode: Mode = "poll"
    """Whether groups are read, or the server tells what changes."""
    security_policy: SecurityPolicy = "none"
    """Of the connection; ``basic256sha256`` is what most servers have."""
    security_mode: SecurityMode | None = None
    """``sign_and_encrypt`` unless given, where there is a security policy."""
    certificate: ReadableFile | None = None
    """Ours, PEM or DER; without it one is made once and kept below DAQ_HOME."""
    private_key: SecretFile | None = None
    """Private key of ``certificate``."""
    server_fingerprint: Annotated[str, Limits(pattern=r"^[0-9A-Fa-f:]+$")] | None = None
    """SHA-256 of the server's certificate; no other server is accepted."""
    user: Annotated[str, Limits(min_length=1, max_length=128)] | None = None
    """Sign in with a name; its password comes from one of the next two keys."""
    password_file: SecretFile | None = None
    """File of the password."""
    password_env: Annotated[str, Limits(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """Environment variable of the password."""
    allow_plain_password: bool = False
    """Send the password unencrypted where the server asks for that."""
    user_certificate: ReadableFile | None = None
    """Sign in with a certificate instead of a name."""
    user_private_key: SecretFile | None = None
    """Private key of ``user_certificate``."""
    groups: Annotated[tuple[OpcUaGroup, ...], Limits(min_length=1, strict=False)] = (OpcUaGroup(),)
    """Poll groups; without any, one named ``default`` that is read each second."""
    points: Annotated[tuple[OpcUaPoint, ...], Limits(min_length=1, strict=False)]
    """What is read of it."""

    def __post_init__(self) -> None:
        Device.__post_init__(self)
        self._check_endpoint()
        self._check_security()
        self._check_login()
        self._check_groups()

    def _check_endpoint(self) -> None:
        try:
            parts = urlsplit(self.endpoint)
            usable = bool(parts.hostname) and parts.port != 0
        except ValueError:
            usable = False
        if not usable:
            raise _clash("bad_endpoint", endpoint=self.endpoint)

    def _check_security(self) -> None:
        secured = 'security_policy = "basic256sha256"'
        if self.security_policy == "none":
            self._reject(secured, "security_mode", "certificate", "private_key")
            self._reject(secured, "server_fingerprint")
        self._need_both("certificate", "private_key")
        fingerprint = self.server_fingerprint
        if fingerprint is not None and len(fingerprint.replace(":", "")) != 64:
            raise _clash("bad_fingerprint", value=fingerprint)

    def _check_login(self) -> None:
        if self.user is None:
            self._reject("user", "password_file", "password_env", "allow_plain_password")
        elif self.user_certificate is not None:
            raise _clash("keys_exclude", key="user", other="user_certificate")
        elif (self.password_file is None) is (self.password_env is None):
            code = "keys_exclude" if self.password_file else "key_needs"
            raise _clash(
                code,
                key="password_file" if self.password_file else "user",
                other="password_env",
                needed="password_file | password_env",
            )
        self._need_both("user_certificate", "user_private_key")

    def _check_groups(self) -> None:
        """Refuse keys of a subscription in a group that has none."""
        keys = ("publishing_interval_s", "sampling_interval_s", "queue_size", "server_deadband")
        for group in self.groups:
            if self.mode_of(group) == "poll":
                for key in keys:
                    if _is_given(getattr(group, key)):
                        path = f"groups.{group.id}.{key}"
                        raise _clash("key_needs", key=path, needed='mode = "subscribe"')

    def _reject(self, needed: str, *keys: str) -> None:
        for key in keys:
            if _is_given(getattr(self, key)):
                raise _clash("key_needs", key=key, needed=needed)

    def _need_both(self, first: str, second: str) -> None:
        if (getattr(self, first) is None) is not (getattr(self, second) is None):
            given, missing = (second, first) if getattr(self, first) is None else (first, second)
            raise _clash("key_needs", key=given, needed=missing)

    def mode_of(self, group: OpcUaGroup) -> Mode:
        return group.mode or self.mode

    @property
    def pinned_fingerprint(self) -> str | None:
        """64 hexadecimal digits in capitals, or ``None``."""
        given = self.server_fingerprint
        return None if given is None else given.replace(":", "").upper()

    @property
    def host(self) -> str:
        return urlsplit(self.endpoint).hostname or ""

    @property
    def port(self) -> int:
        return urlsplit(self.endpoint).port or 4840


def _is_given(value: object) -> bool:
    return value is not None and value is not False


def _clash(code: str, **params: object) -> Rejected:
    return Rejected(Fault(code, params))


@dataclass(frozen=True, slots=True, kw_only=True)
class OpcUaCollector(Collector):
    """Reads OPC UA servers."""

    protocol: Literal["opcua"]
    """Decides which keys devices and points have."""
    devices: Annotated[tuple[OpcUaDevice, ...], Limits(min_length=1, max_length=200, strict=False)]
    """What it reads; one process reads all of them."""
