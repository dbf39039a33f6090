"""Where alerts are told besides the panel: ``DAQ_HOME/channels.toml``."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from collectors.contract.config_problems import (
    ConfigError,
    ConfigProblem,
    read_toml,
    translate_problems,
)
from collectors.contract.messages import DEFAULT_LANGUAGE
from control_plane.domain.alerts import AlertSeverity
from control_plane.secret_files import read_secret

FILE_NAME: Final = "channels.toml"
MAX_CHANNELS: Final = 50
_SHORTEST_PART: Final = 6
"""Shorter parts of a URL are words of everyday, which would mask half of a sentence."""
_SECRETS: Final = ("password_file", "url_file", "hmac_file", "token_file")
"""Keys that name the file of a secret."""
_MAX_DELAY_S: Final = 3600
_Text = Annotated[str, Field(min_length=1, max_length=400, pattern=r"^[^\x00-\x1f\x7f]+$")]
_Address = Annotated[str, Field(max_length=254, pattern=r"^[^\s@<>,;]+@[^\s@<>,;]+$")]


class ChannelEntry(BaseModel):
    """What every ``[[channel]]`` has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]
    """For people and for ``daqplane channel test NAME``."""
    enabled: bool = True
    """Whether anything is sent."""
    min_severity: AlertSeverity = AlertSeverity.WARNING
    """This and worse is told."""
    delay_s: Annotated[float, Field(ge=0, le=_MAX_DELAY_S)] = 0.0
    """An alert that is over before is not told."""
    group_s: Annotated[float, Field(ge=0, le=_MAX_DELAY_S)] = 10.0
    """Notices of this time go out as one message."""
    language: Literal["en", "zh-CN"] = DEFAULT_LANGUAGE  # type: ignore[assignment]
    """Of the messages."""


class EmailEntry(ChannelEntry):
    """By SMTP."""

    kind: Literal["email"]
    """What follows is for a mail server."""
    host: _Text
    """The mail server."""
    port: Annotated[int, Field(ge=1, le=65535, strict=True)] = 587
    """465 for ``tls``, 25 for ``none``."""
    tls: Literal["starttls", "tls", "none"] = "starttls"
    """``none`` only where nobody can read along."""
    username: _Text | None = None
    """Needs ``password_file``."""
    password_file: _Text | None = None
    """File of the password."""
    sender: _Address
    """From whom the mail is."""
    recipients: Annotated[list[_Address], Field(min_length=1, max_length=50)]
    """To whom."""


class WebhookEntry(ChannelEntry):
    """Exactly one of ``url`` and ``url_file``; the file is for an address that is a secret."""

    kind: Literal["webhook"]
    """What follows is for an HTTP server of yours."""
    url: Annotated[str, Field(max_length=2000, pattern=r"^https?://[^\s@]+$")] | None = None
    """Where JSON is posted."""
    url_file: _Text | None = None
    """File of the address, where that is a secret."""
    hmac_file: _Text | None = None
    """File of a key: each message is signed."""
    token_file: _Text | None = None
    """File of a bearer token."""


class LogEntry(ChannelEntry):
    """One JSON line a message."""

    kind: Literal["log"]
    """What follows is for a file."""
    file: _Text = "log/alerts.log"
    """Below DAQ_HOME or absolute."""


class AppriseEntry(ChannelEntry):
    """``url_file`` holds one URL of apprise, which carries the secrets of its service."""

    kind: Literal["apprise"]
    """What follows is for DingTalk, WeCom, Feishu, Slack and some 170 more."""
    url_file: _Text
    """File of the URL."""


AnyEntry = EmailEntry | WebhookEntry | LogEntry | AppriseEntry
ENTRIES: Final[Mapping[str, type[AnyEntry]]] = {
    "email": EmailEntry,
    "webhook": WebhookEntry,
    "log": LogEntry,
    "apprise": AppriseEntry,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One channel with its secrets.

    Attributes:
        entry: What the file says.
        home: DAQ_HOME; files of the entry are below it or absolute.
        secrets: By key of the entry that names their file; never shown.
        target: Where it goes, without any secret.
    """

    entry: AnyEntry
    home: Path
    secrets: "Secrets"
    target: str

    @property
    def name(self) -> str:
        return self.entry.name


class Secrets(dict[str, str]):
    """Secrets by key; they do not show where somebody prints them."""

    def __repr__(self) -> str:
        return f"<{len(self)} secrets>"

    def masked(self, text: str) -> str:
        """Return ``text`` without any of the secrets, and without the longer parts of a URL."""
        parts = {part for url in self.values() if "://" in url for part in _secret_parts(url)}
        for secret in sorted({*self.values(), *parts}, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text


def _secret_parts(url: str) -> list[str]:
    scheme_and_host = url.partition("://")[2].rpartition("@")[2].partition("/")[0]
    parts = re.split(r"[/:@?&=]+", url)
    return [part for part in parts if len(part) >= _SHORTEST_PART and part not in scheme_and_host]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelList:
    """Usable channels by name, what is wrong with the others, and the files of all secrets."""

    channels: Mapping[str, Channel]
    problems: tuple[ConfigProblem, ...]
    secret_files: tuple[Path, ...] = ()


def read_channel_file(home: Path) -> ChannelList:
    """Read the file; an entry that cannot be used leaves the others alone.

    Without the file alerts are told in the panel only.
    """
    path = home / FILE_NAME
    if not path.exists():
        return ChannelList(channels={}, problems=())
    channels: dict[str, Channel] = {}
    problems: list[ConfigProblem] = []
    try:
        entries = _entries(path)
    except ConfigError as exc:
        return ChannelList(channels={}, problems=exc.problems)
    for number, raw in enumerate(entries):
        try:
            channel = _channel(path, f"channel[{number}]", raw)
            if channel.name in channels:
                params = {"kind": "channel", "name": channel.name}
                key = f"channel[{number}].name"
                raise ConfigError.single(str(path), key, "duplicate", params)
            channels[channel.name] = channel
        except ConfigError as exc:
            problems += exc.problems
    return ChannelList(
        channels=channels,
        problems=tuple(problems),
        secret_files=tuple(file for raw in entries for file in _secret_files(home, raw)),
    )


def _secret_files(home: Path, raw: Any) -> list[Path]:
    values = [raw.get(key) for key in _SECRETS] if isinstance(raw, dict) else []
    return [home / value for value in values if isinstance(value, str) and "\0" not in value]


def _entries(path: Path) -> list[Any]:
    document = read_toml(path)
    for key in document:
        if key != "channel":
            raise ConfigError.single(str(path), key, "unknown_key", {"near": "channel"})
    entries = document.get("channel", [])
    if not isinstance(entries, list):
        raise ConfigError.single(str(path), "channel", "not_a_table_list", {"key": "channel"})
    if len(entries) > MAX_CHANNELS:
        params = {"actual_length": len(entries), "max_length": MAX_CHANNELS}
        raise ConfigError.single(str(path), "channel", "list_too_long", params)
    return entries


def _channel(path: Path, place: str, raw: Any) -> Channel:
    file = str(path)
    kind = raw.get("kind") if isinstance(raw, dict) else None
    model = ENTRIES.get(kind) if isinstance(kind, str) else None
    if model is None:
        params = {"value": repr(kind), "expected": ", ".join(ENTRIES)}
        raise ConfigError.single(file, f"{place}.kind", "not_one_of", params)
    try:
        entry = model.model_validate(raw)
    except ValidationError as exc:
        found = translate_problems(exc, {}, file, lambda _p, _l: list(model.model_fields))
        raise ConfigError([_inside(problem, place) for problem in found]) from None
    _check_together(entry, file, place)
    secrets = Secrets(
        {
            key: read_secret(path.parent / str(value), file, f"{place}.{key}")
            for key in _SECRETS
            if (value := getattr(entry, key, None)) is not None
        }
    )
    return Channel(entry=entry, home=path.parent, secrets=secrets, target=_target(entry, secrets))


def _inside(problem: ConfigProblem, place: str) -> ConfigProblem:
    key = f"{place}.{problem.key}" if problem.key else place
    code, params = problem.code, problem.params
    if code == "invalid" and problem.key == "min_severity":
        code, params = "not_one_of", {**params, "expected": ", ".join(AlertSeverity)}
    return ConfigProblem(file=problem.file, key=key, code=code, params=params)


def _check_together(entry: AnyEntry, file: str, place: str) -> None:
    """Keys that need or exclude each other."""
    match entry:
        case WebhookEntry(url=None, url_file=None):
            raise ConfigError.single(file, f"{place}.url", "missing")
        case WebhookEntry(url=str(), url_file=str()):
            params = {"key": "url", "other": "url_file"}
            raise ConfigError.single(file, f"{place}.url", "keys_exclude", params)
        case EmailEntry() if (entry.username is None) != (entry.password_file is None):
            key, needed = "username", "password_file"
            if entry.username is None:
                key, needed = needed, key
            params = {"key": key, "needed": needed}
            raise ConfigError.single(file, f"{place}.{key}", "key_needs", params)
        case _:
            return


def _target(entry: AnyEntry, secrets: Secrets) -> str:
    match entry:
        case EmailEntry():
            return ", ".join(entry.recipients)
        case WebhookEntry():
            parts = urlsplit(entry.url or secrets["url_file"])
            return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/…"
        case AppriseEntry():
            scheme, found, _ = secrets["url_file"].partition("://")
            return f"{scheme}://…" if found else "…"
        case LogEntry():
            return entry.file
