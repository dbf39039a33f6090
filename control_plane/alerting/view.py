"""An alert as the API, the live channel, the panel and the channels show it."""

from typing import Final

from pydantic import TypeAdapter

from collectors.contract.messages import DEFAULT_LANGUAGE
from control_plane.alerting.texts import advice_for, ending_of, message_of, rule_name
from control_plane.domain.alerts import Alert

_ALERT: Final = TypeAdapter(Alert)


def alert_json(alert: Alert, language: str = DEFAULT_LANGUAGE) -> dict[str, object]:
    """Return all attributes, and what follows from them in words of ``language``."""
    body: dict[str, object] = _ALERT.dump_python(alert, mode="json")
    return body | {
        "alarm_state": alert.alarm_state,
        "title": rule_name(alert.rule, language),
        "message": message_of(alert, language),
        "advice": advice_for(alert, language),
        "ending": ending_of(alert, language),
    }
