"""The tests of alerts bite: every mistake that is planted in the engine fails one of them."""

import inspect
import types
from pathlib import Path

import pytest
import test_alert_engine
import test_alert_rules

from control_plane.alerting import engine

SOURCE = Path(engine.__file__).read_text(encoding="utf-8")
MUTANTS = {
    "tells before the time is over": ("not lasted or track.bad_looks < limits.hard_after", "False"),
    "fires at every look": ("if track.is_bad or not lasted", "if not lasted"),
    "fires again what is open": (
        "self._again(track) if alert.is_open else self._fired(track)",
        "self._fired(track)",
    ),
    "never ends": ('        self._resolve(alert, "returned")\n', ""),
    "ends at the first good look": ("not lasted or track.good_looks < GOOD_LOOKS", "False"),
    "ends what cannot be seen": ("if judgement.holds(alert.rule, alert.subject):", "if False:"),
    "keeps what an operator stopped": ("if alert.subject in judgement.excused:", "if False:"),
    "keeps what is gone": ('return None if exists else "removed"', "return None"),
    "keeps what is switched off": (".enabled:", ".enabled and False:"),
    "ends what nobody was told of": ("            if alert.is_open:\n", "            if True:\n"),
    "uses an id again": ("max(self._last_id + 1, round(", "min(1, round("),
    "takes an old look for news": ("self._mono <= self._state.looked_mono", "False"),
    "knows no flapping": ("if restless and self._limits.flapping:", "if False:"),
    "flaps for ever": (
        "restless = percent > STOP_PERCENT if",
        "restless = True if",
    ),
    "repeats what somebody has seen": ("if due and after.state is AlertState.FIRING:", "if due:"),
    "ignores a shelf": ("        if ends:\n", "        if False:\n"),
    "is silent after a shelf": ("elif alert.state is AlertState.SHELVED:", "elif False:"),
    "lets the pending be acknowledged": (
        "alert.id != alert_id or not alert.is_open",
        "alert.id != alert_id",
    ),
}


def run_all() -> None:
    """Run the tests that take nothing, single histories before drawn ones."""
    found = [
        each
        for module in (test_alert_engine, test_alert_rules)
        for name, each in vars(module).items()
        if name.startswith("test_") and not inspect.signature(each).parameters
    ]
    for each in sorted(found, key=lambda each: hasattr(each, "hypothesis")):
        each()


def plant(mistake: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the engine's functions, with text replaced, where the tests find them."""
    old, new = mistake
    assert SOURCE.count(old) == 1, f"the engine does not hold {old!r} once"
    wrong: dict[str, object] = {"__name__": "wrong_engine"}
    exec(compile(SOURCE.replace(old, new), "engine.py", "exec", dont_inherit=True), wrong)
    for name, each in vars(wrong["Step"]).items():
        if isinstance(each, types.FunctionType):
            monkeypatch.setattr(engine.Step, name, _at_home(each))
    acknowledge = wrong["acknowledge"]
    assert isinstance(acknowledge, types.FunctionType)
    monkeypatch.setattr(test_alert_engine, "acknowledge", _at_home(acknowledge))


def _at_home(function: types.FunctionType) -> types.FunctionType:
    """Return a function that knows the classes of the real engine."""
    moved = types.FunctionType(
        function.__code__, vars(engine), function.__name__, function.__defaults__
    )
    moved.__kwdefaults__ = function.__kwdefaults__
    return moved


@pytest.mark.parametrize("name", MUTANTS)
def test_every_planted_mistake_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(MUTANTS[name], monkeypatch)
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever fails a test
        run_all()
