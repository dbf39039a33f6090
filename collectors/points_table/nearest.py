"""Find the valid text that a wrong one was most likely meant to be. Pure."""

import difflib
import unicodedata
from collections.abc import Callable, Iterable, Sequence

from collectors.contract.addresses import AddressError
from collectors.contract.addresses_mc import McSeries, parse_mc_address
from collectors.contract.config_types import PROTOCOLS

_LOOKALIKES = str.maketrans({"O": "0", "o": "0", "l": "1", "I": "1", ";": ":", ",": "."})


def nearest(text: str, choices: Sequence[str]) -> str:
    """Return the choice that looks most like ``text``, empty if none does."""
    by_fold = {choice.casefold(): choice for choice in choices}
    plain = unicodedata.normalize("NFKC", text).strip().casefold()
    if plain in by_fold:
        return by_fold[plain]
    found = difflib.get_close_matches(plain, list(by_fold), n=1)
    return by_fold[found[0]] if found else ""


def nearest_address(text: str, protocol: str, series: McSeries | None = None) -> str:
    """Return an address that differs from ``text`` in width, case, blanks or look-alikes only."""

    def is_valid(candidate: str) -> bool:
        try:
            _parser(protocol, series)(candidate)
        except AddressError:
            return False
        return True

    return next((c for c in _candidates(text) if c != text and is_valid(c)), "")


def _parser(protocol: str, series: McSeries | None) -> Callable[[str], object]:
    if protocol == "mitsubishi_mc":
        return lambda text: parse_mc_address(text, series)
    return PROTOCOLS[protocol].parse_address


def _candidates(text: str) -> Iterable[str]:
    """Yield ``text`` in half-width letters, then with digits for the letters that look like one."""
    plain = "".join(unicodedata.normalize("NFKC", text).split())
    for variant in (plain, plain.lower(), plain.upper()):
        yield variant
        # The first letters name the device or the table.
        start = next((n for n, letter in enumerate(variant) if letter.isdigit()), len(variant))
        for begin in range(start, -1, -1):
            yield variant[:begin] + variant[begin:].translate(_LOOKALIKES)
        yield f"{variant[:start]}:{variant[start:]}"
