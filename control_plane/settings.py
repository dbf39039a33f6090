"""All settings, read once; the only module of the control plane that reads the environment."""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path

from collectors.contract.store_urls import StoreUrl, StoreUrlError, parse_stores, reader_of
from control_plane.errors import SettingsError

# These characters end a value, start a comment, expand or match files in supervisord's
# configuration, so no path that appears there may hold them.
_UNSAFE_PATH = re.compile(r"[\s%;\"'\\\[\]*?,\x00-\x1f\x7f]")
Network = IPv4Network | IPv6Network
INTEGERS: Mapping[str, tuple[int, int, int]] = {
    "DAQ_HTTP_PORT": (8080, 1, 65535),
    "DAQ_STATE_KEEP_DAYS": (30, 1, 3650),
    "DAQ_MAX_LIVE_CLIENTS": (64, 1, 4000),
    "DAQ_MAX_LIVE_PER_USER": (32, 1, 4000),
    "DAQ_MAX_LIVE_PER_ADDRESS": (48, 1, 4000),
}
"""Default, least and highest value of each variable that is a number."""
_MAX_SOCKET_PATH = 107
"""sun_path of unix(7) holds 108 bytes with its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Effective settings of one installation.

    Attributes:
        home: DAQ_HOME, absolute: everything that this installation writes is below it.
        http_host, http_port: Where the panel listens (DAQ_HTTP_HOST, DAQ_HTTP_PORT).
        tls_cert, tls_key: Certificate chain and key as PEM (DAQ_TLS_CERT, DAQ_TLS_KEY); with them
            the panel is served by https.
        trusted_proxies: Whose X-Forwarded-For and X-Forwarded-Proto count (DAQ_TRUSTED_PROXIES,
            addresses and networks with commas between); nobody's by default.
        hosts: Names by which the panel may be asked for (DAQ_HOSTS, with commas between; one that
            begins with a dot stands for all below it); any by default.
        database_url: State database (DATABASE_URL, or the file that DATABASE_URL_FILE names);
            SQLite below ``home`` by default.
        state_keep_days: So long the state database remembers restarts and health
            (DAQ_STATE_KEEP_DAYS); the audit trail stays.
        stores: Where samples are stored (DAQ_STORES), the embedded store by default.
        reader: The one of them that charts read (DAQ_READER), the first by default.
        language: ``en`` or ``zh-CN`` for console output (DAQ_LANG, else LC_ALL, LC_MESSAGES, LANG).
        max_live_clients: WebSocket connections served at once (DAQ_MAX_LIVE_CLIENTS).
        max_live_per_user, max_live_per_address: Of them, for one user or token and for one address
            (DAQ_MAX_LIVE_PER_USER, DAQ_MAX_LIVE_PER_ADDRESS).
        metrics_on_loopback: Whether this machine reads /metrics without a token
            (DAQ_METRICS=loopback; ``token`` by default, as a proxy here makes everybody local).
    """

    home: Path
    http_host: str = "127.0.0.1"
    http_port: int = 8080
    tls_cert: Path | None = None
    tls_key: Path | None = None
    trusted_proxies: tuple[Network, ...] = ()
    hosts: tuple[str, ...] = ()
    database_url: str
    state_keep_days: int = 30
    stores: tuple[StoreUrl, ...] = parse_stores("")
    reader: StoreUrl = parse_stores("")[0]
    language: str = "en"
    max_live_clients: int = 64
    max_live_per_user: int = 32
    max_live_per_address: int = 48
    metrics_on_loopback: bool = False

    @property
    def panel_url(self) -> str:
        """Where this machine reaches the panel; ends in a slash."""
        host = f"[{self.http_host}]" if ":" in self.http_host else self.http_host
        return f"{'https' if self.tls_cert else 'http'}://{host}:{self.http_port}/"

    @property
    def socket_path(self) -> Path:
        return self.home / "run" / "supervisor.sock"

    @property
    def installation_id(self) -> str:
        """Names this installation to other machines; the same for each of its processes."""
        return hashlib.sha256(f"{os.uname().nodename}:{self.home}".encode()).hexdigest()[:16]

    @property
    def collectors_dir(self) -> Path:
        return self.home / "collectors.d"

    @property
    def log_dir(self) -> Path:
        return self.home / "log"

    @property
    def history_dir(self) -> Path:
        return self.home / "history"

    def log_file(self, process: str) -> Path:
        return self.log_dir / f"{process}.log"


def load_settings(environ: Mapping[str, str] | None = None, home: Path | None = None) -> Settings:
    """Read the settings; ``home`` (a command-line option) wins over DAQ_HOME.

    Raises:
        SettingsError: names the variable, the value and what it must look like.
    """
    env = os.environ if environ is None else environ
    root = _home(str(home) if home else env.get("DAQ_HOME") or "var")
    stores, reader = _stores(env)
    tls_cert, tls_key = _tls(env)
    return Settings(
        home=root,
        http_host=env.get("DAQ_HTTP_HOST") or "127.0.0.1",
        http_port=_integer(env, "DAQ_HTTP_PORT"),
        tls_cert=tls_cert,
        tls_key=tls_key,
        trusted_proxies=_networks(env, "DAQ_TRUSTED_PROXIES"),
        hosts=tuple(_words(env, "DAQ_HOSTS")),
        database_url=_secret(env, "DATABASE_URL") or f"sqlite:///{root / 'state.db'}",
        state_keep_days=_integer(env, "DAQ_STATE_KEEP_DAYS"),
        stores=stores,
        reader=reader,
        language=console_language(env),
        max_live_clients=_integer(env, "DAQ_MAX_LIVE_CLIENTS"),
        max_live_per_user=_integer(env, "DAQ_MAX_LIVE_PER_USER"),
        max_live_per_address=_integer(env, "DAQ_MAX_LIVE_PER_ADDRESS"),
        metrics_on_loopback=_one_of(env, "DAQ_METRICS", ("token", "loopback")) == "loopback",
    )


def _home(text: str) -> Path:
    path = Path(text).expanduser().absolute()
    if unsafe := _UNSAFE_PATH.search(str(path)):
        raise SettingsError(
            variable="DAQ_HOME", value=str(path), rule=f"a path without {unsafe[0]!r}"
        )
    if len(os.fsencode(path / "run" / "supervisor.sock")) > _MAX_SOCKET_PATH:
        rule = f"a path of at most {_MAX_SOCKET_PATH - len('/run/supervisor.sock')} bytes"
        raise SettingsError(variable="DAQ_HOME", value=str(path), rule=rule)
    return path


def with_tls(settings: Settings, cert: Path | None, key: Path | None) -> Settings:
    """Return the settings with the files that command-line options name, if they name any.

    Raises:
        SettingsError: one without the other.
    """
    if cert is None and key is None:
        return settings
    env = {"DAQ_TLS_CERT": str(cert or ""), "DAQ_TLS_KEY": str(key or "")}
    tls_cert, tls_key = _tls(env)
    return replace(settings, tls_cert=tls_cert, tls_key=tls_key)


def _tls(env: Mapping[str, str]) -> tuple[Path | None, Path | None]:
    cert, key = env.get("DAQ_TLS_CERT"), env.get("DAQ_TLS_KEY")
    if not cert and not key:
        return None, None
    if not cert or not key:
        rule = "set together with the other of DAQ_TLS_CERT and DAQ_TLS_KEY"
        missing = "DAQ_TLS_KEY" if cert else "DAQ_TLS_CERT"
        raise SettingsError(variable=missing, value="", rule=rule)
    return Path(cert).expanduser().absolute(), Path(key).expanduser().absolute()


def _networks(env: Mapping[str, str], name: str) -> tuple[Network, ...]:
    try:
        return tuple(ip_network(word) for word in _words(env, name))
    except ValueError as exc:
        rule = f"addresses and networks like 127.0.0.1,10.0.0.0/8 ({exc})"
        raise SettingsError(variable=name, value=env[name], rule=rule) from None


def _words(env: Mapping[str, str], name: str) -> list[str]:
    return [word.strip() for word in env.get(name, "").split(",") if word.strip()]


def _secret(env: Mapping[str, str], name: str) -> str:
    """Return the variable's value, or the only line of the file that ``NAME_FILE`` names.

    Such a file is what systemd (LoadCredential=), Docker and Kubernetes give: its mode is theirs.
    """
    if env.get(name):
        return env[name]
    variable = f"{name}_FILE"
    path = env.get(variable)
    if not path:
        return ""
    try:
        text = Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as exc:
        rule = f"a file that can be read ({getattr(exc, 'strerror', None) or 'not UTF-8'})"
        raise SettingsError(variable=variable, value=path, rule=rule) from None
    if not text or re.search(r"[\x00-\x1f\x7f]", text):
        raise SettingsError(variable=variable, value=path, rule="a file of one line")
    return text


def _stores(env: Mapping[str, str]) -> tuple[tuple[StoreUrl, ...], StoreUrl]:
    variable = "DAQ_STORES"
    try:
        stores = parse_stores(env.get(variable, ""))
        variable = "DAQ_READER"
        return stores, reader_of(stores, env.get(variable, ""))
    except StoreUrlError as exc:
        # The value is not shown, as somebody may have written a password into it.
        rule = f"as in docs/operations.md ({exc})"
        raise SettingsError(variable=variable, value="…", rule=rule) from exc


def _integer(env: Mapping[str, str], name: str) -> int:
    default, low, high = INTEGERS[name]
    text = env.get(name)
    if not text:
        return default
    if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
        raise SettingsError(variable=name, value=text, rule=f"a whole number {low}..{high}")
    return int(text)


def _one_of(env: Mapping[str, str], name: str, words: tuple[str, ...]) -> str:
    """Return the variable's value, the first of ``words`` if it is not set."""
    text = env.get(name) or words[0]
    if text not in words:
        raise SettingsError(variable=name, value=text, rule=" or ".join(words))
    return text


def console_language(environ: Mapping[str, str] | None = None) -> str:
    """Return the language of console output, ``en`` or ``zh-CN``."""
    env = os.environ if environ is None else environ
    for name in ("DAQ_LANG", "LC_ALL", "LC_MESSAGES", "LANG"):
        if env.get(name):
            return "zh-CN" if env[name].lower().startswith("zh") else "en"
    return "en"


def environment() -> Mapping[str, str]:
    """Return all variables, for whoever must know which of their values are secret."""
    return dict(os.environ)
