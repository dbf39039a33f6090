"""docs/configuration.md: every key, variable and limit, one table a place."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from collectors.contract.config_base import Collector, Device, Point, PollGroup, Retry, Spool
from collectors.contract.config_mc import McDevice, McPoint
from collectors.contract.config_modbus import ModbusDevice, ModbusPoint, TlsFiles
from collectors.contract.config_opcua import OpcUaDevice, OpcUaGroup, OpcUaPoint
from collectors.contract.messages import sentence
from control_plane.alerting.limits import DEFAULT_RULES, AlertLimits, RuleLimits
from control_plane.alerting.rule_file import AlertsSection, OverrideSection, RuleSection
from control_plane.config_reference.keys import Key, keys_of, meanings_of
from control_plane.config_reference.variables import VARIABLES
from control_plane.domain.health import HealthCheckConfig
from control_plane.domain.recovery import RecoveryConfig
from control_plane.limits_file import HealthTable, RecoveryTable
from control_plane.notify.channel_file import ENTRIES, ChannelEntry
from control_plane.supervisor.node_file import NodeEntry

_PROTOCOLS: Final[Sequence[tuple[str, Mapping[str, tuple[type, type]]]]] = (
    (
        "Modbus TCP",
        {"[[devices]]": (ModbusDevice, Device), "[[devices.points]]": (ModbusPoint, Point)},
    ),
    (
        "OPC UA",
        {
            "[[devices]]": (OpcUaDevice, Device),
            "[[devices.groups]]": (OpcUaGroup, PollGroup),
            "[[devices.points]]": (OpcUaPoint, Point),
        },
    ),
    ("Mitsubishi MC", {"[[devices]]": (McDevice, Device), "[[devices.points]]": (McPoint, Point)}),
)
_NOT_AGAIN: Final = ("protocol", "points", "groups")
_UNITS_OF_RULES: Final[Mapping[str, str]] = {
    "process_state": "s",
    "cpu": "% of a core",
    "memory": "MB",
    "log_errors": "lines in 5 min",
    "request_errors": "% of requests",
    "spool": "% of the queue",
    "store_lag": "s",
    "disk": "% free",
    "clock_step": "s",
    "monitor_stalled": "s",
    "slow_look": "ms",
    "notify_queue": "notices",
}


def config_reference() -> str:
    """Return the page as Markdown."""
    return "\n".join((*_head(), *_collectors(), *_files(), *_rules(), *_variables())) + "\n"


def _head() -> Iterator[str]:
    yield "# Configuration reference"
    yield ""
    yield "<!-- Written by `make config-reference` from the types that validate; edit those. -->"
    yield ""
    yield "Every key and variable, with its form, limits and default; a key without a default is"
    yield "*needed*. How things belong together is told in [collectors](collectors.md) and"
    yield "[operations](operations.md). `daqplane check FILE` names every mistake in a collector"
    yield "file with line, key and remedy; an unknown key is a mistake."


def _collectors() -> Iterator[str]:
    yield from ("", "## Collector files", "", "`DAQ_HOME/collectors.d/NAME.toml`.")
    yield from _table("The file itself", [*keys_of(Collector), _protocol()])
    yield from _table("`[spool]`", keys_of(Spool))
    yield from _table("`[[devices]]`, all protocols", keys_of(Device))
    yield from _table("`[devices.retry]`", keys_of(Retry))
    yield from _table("`[[devices.groups]]`, all protocols", keys_of(PollGroup))
    yield from _table("`[[devices.points]]`, all protocols", keys_of(Point))
    for title, tables in _PROTOCOLS:
        yield from ("", f"### {title}")
        for place, (kind, common) in tables.items():
            yield from _table(f"`{place}`, {title}", _beyond(kind, common), level=4)
        if kind is ModbusPoint:
            yield from _table("`[devices.tls]`", keys_of(TlsFiles), level=4)


def _protocol() -> Key:
    form = " ".join(f"`{each}`" for each in ("modbus_tcp", "opcua", "mitsubishi_mc"))
    meaning = "Decides which keys devices and points have."
    return Key(name="protocol", form=form, default="", meaning=meaning, owner=Collector)


def _beyond(kind: type, common: type) -> list[Key]:
    """Return the keys that ``kind`` adds to ``common``, or says otherwise."""
    shared = {key.name: (key.form, key.default) for key in keys_of(common)}
    return [
        key
        for key in keys_of(kind)
        if key.name not in _NOT_AGAIN and shared.get(key.name) != (key.form, key.default)
    ]


def _files() -> Iterator[str]:
    yield from ("", "## health.toml", "")
    yield "`[health]` for all, `[collectors.NAME.health]` for one; taken over within a second."
    yield from _table("`[health]`", _limits(HealthTable, HealthCheckConfig))
    yield from _table("`[recovery]`", _limits(RecoveryTable, RecoveryConfig))
    yield from ("", "## nodes.toml", "", "[Other machines](operations.md#other-machines).")
    yield from _table("`[[node]]`", keys_of(NodeEntry))
    yield from ("", "## channels.toml", "", "[Where alerts go](operations.md#channels).")
    yield from _table("`[[channel]]`, all kinds", keys_of(ChannelEntry))
    for kind, entry in ENTRIES.items():
        yield from _table(f'`[[channel]]` with `kind = "{kind}"`', _beyond(entry, ChannelEntry))


def _limits(table: type, defaults: type) -> list[Key]:
    """Return the keys of a table whose defaults and meanings are those of a dataclass."""
    standard, said = defaults(), meanings_of(defaults)
    return [
        Key(
            name=key.name,
            form=key.form,
            default=_figure(getattr(standard, key.name)),
            meaning=said.get(key.name, ("", defaults))[0],
            owner=defaults,
        )
        for key in keys_of(table)
    ]


def _rules() -> Iterator[str]:
    yield from ("", "## alerts.toml", "", "[What the rules look at](operations.md#alerts).")
    said = meanings_of(AlertLimits) | meanings_of(RuleLimits)
    for title, section in (
        ("`[alerts]`", AlertsSection),
        ("`[rule.NAME]`", RuleSection),
        ("`[[override]]`, with all of `[rule.NAME]`", OverrideSection),
    ):
        keys = (
            _beyond(OverrideSection, RuleSection)
            if section is OverrideSection
            else keys_of(section)
        )
        yield from _table(title, [_with_meaning(key, said) for key in keys])
    yield from ("", "### The rules", "")
    yield "| rule | what | `for_s` | `clear_s` | `threshold` |"
    yield "|---|---|---|---|---|"
    for name, limits in DEFAULT_RULES.items():
        what = sentence("control_plane.alerting", f"rule.{name}", {})
        unit = _UNITS_OF_RULES.get(name, "")
        threshold = "" if limits.threshold is None else f"{limits.threshold:g} {unit}"
        if name in ("cpu", "memory", "log_errors"):
            threshold = f"that of health.toml, {unit}"
        yield f"| `{name}` | {what} | {limits.for_s:g} | {limits.clear_s:g} | {threshold} |"


def _with_meaning(key: Key, said: Mapping[str, tuple[str, type]]) -> Key:
    if key.meaning:
        return key
    return replace(key, meaning=said.get(key.name, ("", key.owner))[0])


def _variables() -> Iterator[str]:
    yield from ("", "## Environment", "")
    yield "Read once at the start. Under systemd they stand in `/etc/daqplane/environment`."
    yield from ("", "| variable | form | default | meaning |", "|---|---|---|---|")
    for each in VARIABLES:
        yield f"| `{each.name}` | {each.form} | {each.default} | {each.meaning} |"


def _table(title: str, keys: Iterable[Key], level: int = 3) -> Iterator[str]:
    yield from ("", f"{'#' * level} {title}", "")
    yield from ("| key | form | default | meaning |", "|---|---|---|---|")
    for key in keys:
        yield f"| `{key.name}` | {key.form} | {key.default or '*needed*'} | {key.meaning} |"


def _figure(value: float | bool) -> str:
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    return f"`{value:g}`"
