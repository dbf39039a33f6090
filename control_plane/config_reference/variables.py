"""The environment variables, each once."""

from dataclasses import dataclass
from typing import Final

from control_plane.settings import INTEGERS


@dataclass(frozen=True, slots=True)
class Variable:
    """One environment variable, each part in Markdown."""

    name: str
    form: str
    default: str
    meaning: str


def _number(name: str, meaning: str) -> Variable:
    default, low, high = INTEGERS[name]
    return Variable(name, f"whole number {low} to {high:,}", f"`{default}`", meaning)


def _days(name: str, default: int, meaning: str) -> Variable:
    return Variable(name, "whole number 1 to 36,500 days", f"`{default}`", meaning)


_DATABASE: Final = "[state database](operations.md#state-database-on-postgresql)"
_STORES: Final = "[where samples are stored](operations.md#stores)"
_METRICS: Final = "who may read [`/metrics`](operations.md#prometheus-and-grafana)"
_PROXIES: Final = "[proxies](security.md#tls-and-proxies) whose word of the client counts"
_LIVE: Final = "panels that may be open at once ([live channel](live.md#limits))"

VARIABLES: Final = (
    Variable("DAQ_HOME", "path without spaces", "`./var`", "all that is written is below it"),
    Variable("DAQ_HTTP_HOST", "address or name", "`127.0.0.1`", "where the panel listens"),
    _number("DAQ_HTTP_PORT", "its TCP port"),
    Variable("DAQ_TLS_CERT", "path", "none", "certificate chain (PEM): the panel by https"),
    Variable("DAQ_TLS_KEY", "path", "none", "its key (PEM); needed with the one before"),
    Variable("DAQ_TRUSTED_PROXIES", "addresses, networks, with commas", "none", _PROXIES),
    Variable("DAQ_HOSTS", "names, with commas", "any", "by what the panel may be asked for"),
    Variable("DATABASE_URL", "`sqlite:///…` `postgresql://…`", "SQLite in `DAQ_HOME`", _DATABASE),
    Variable("DATABASE_URL_FILE", "path", "none", "file of one line that holds that URL"),
    _number("DAQ_STATE_KEEP_DAYS", "days that restarts, health and ended alerts are kept"),
    Variable("DAQ_STORES", "URLs, with spaces or commas", "`embedded:`", _STORES),
    Variable("DAQ_READER", "name of a store", "the first", "the store that charts read"),
    _days("DAQ_HISTORY_DAYS", 30, "the embedded store keeps samples"),
    _days("DAQ_HISTORY_ROLLUP_DAYS", 400, "it keeps their minimum, mean and maximum"),
    Variable("DAQ_LANG", "`en` `zh`", "from `LC_ALL`, `LC_MESSAGES`, `LANG`", "of the console"),
    Variable("DAQ_METRICS", "`token` `loopback`", "`token`", _METRICS),
    _number("DAQ_MAX_LIVE_CLIENTS", _LIVE),
    _number("DAQ_MAX_LIVE_PER_USER", "of them, for one user or token"),
    _number("DAQ_MAX_LIVE_PER_ADDRESS", "of them, for one address"),
)
