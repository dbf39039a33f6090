"""What an alert says, in either language; pure but for the catalogues."""

from collections.abc import Mapping
from typing import Final

from collectors.contract.messages import DEFAULT_LANGUAGE, sentence
from control_plane.domain.alerts import Alert

_PACKAGE: Final = "control_plane.alerting"


def message_of(alert: Alert, language: str = DEFAULT_LANGUAGE) -> str:
    """Return the sentence of an alert; one that came from a health check keeps its words."""
    package = "control_plane" if alert.code.startswith("check.") else _PACKAGE
    return sentence(package, alert.code, alert.params, language)


def rule_name(rule: str, language: str = DEFAULT_LANGUAGE) -> str:
    return sentence(_PACKAGE, f"rule.{rule}", {}, language)


def ending_of(alert: Alert, language: str = DEFAULT_LANGUAGE) -> str:
    """Return why a resolved alert ended; empty for an open one."""
    return sentence(_PACKAGE, f"ended.{alert.ended}", {}, language) if alert.ended else ""


def advice_for(alert: Alert, language: str = DEFAULT_LANGUAGE) -> list[str]:
    """Return what to do, as the health check that found it advises."""
    codes = alert.evidence.get("recommendations", ())
    known: Mapping[str, object] = {}
    if not isinstance(codes, list | tuple):
        return []
    return [sentence("control_plane", f"recommendation.{code}", known, language) for code in codes]
