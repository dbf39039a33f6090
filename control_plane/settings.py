"""All settings, read once; the only module of the control plane that reads the environment."""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from collectors.contract.store_urls import StoreUrl, StoreUrlError, parse_stores, reader_of
from control_plane.errors import SettingsError

# These characters end a value, start a comment, expand or match files in supervisord's
# configuration, so no path that appears there may hold them.
_UNSAFE_PATH = re.compile(r"[\s%;\"'\\\[\]*?,\x00-\x1f\x7f]")
_MAX_SOCKET_PATH = 107
"""sun_path of unix(7) holds 108 bytes with its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Effective settings of one installation.

    Attributes:
        home: DAQ_HOME, absolute: everything that this installation writes is below it.
        http_host, http_port: Where the panel listens (DAQ_HTTP_HOST, DAQ_HTTP_PORT).
        database_url: State database (DATABASE_URL); SQLite below ``home`` by default.
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
    return Settings(
        home=root,
        http_host=env.get("DAQ_HTTP_HOST") or "127.0.0.1",
        http_port=_integer(env, "DAQ_HTTP_PORT", 8080, 1, 65535),
        database_url=env.get("DATABASE_URL") or f"sqlite:///{root / 'state.db'}",
        state_keep_days=_integer(env, "DAQ_STATE_KEEP_DAYS", 30, 1, 3650),
        stores=stores,
        reader=reader,
        language=console_language(env),
        max_live_clients=_integer(env, "DAQ_MAX_LIVE_CLIENTS", 64, 1, 4000),
        max_live_per_user=_integer(env, "DAQ_MAX_LIVE_PER_USER", 32, 1, 4000),
        max_live_per_address=_integer(env, "DAQ_MAX_LIVE_PER_ADDRESS", 48, 1, 4000),
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


def _integer(env: Mapping[str, str], name: str, default: int, low: int, high: int) -> int:
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
