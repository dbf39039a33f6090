"""Sentences for people, kept in one catalogue a language and looked up by code."""

import json
import pkgutil
import string
from collections.abc import Mapping
from functools import cache

LANGUAGES = ("en", "zh-CN")
"""Languages in which every sentence exists."""

DEFAULT_LANGUAGE = "en"


@cache
def catalogue(package: str, language: str) -> Mapping[str, str]:
    """Return the sentences of ``package`` (its ``messages.LANGUAGE.json``) by code."""
    # importlib.resources would do, but costs every collector a megabyte.
    text = pkgutil.get_data(package, f"messages.{language}.json")
    assert text is not None, package
    loaded: dict[str, str] = json.loads(text)
    return loaded


def sentence(
    package: str, code: str, params: Mapping[str, object], language: str = DEFAULT_LANGUAGE
) -> str:
    """Return the sentence ``code`` with its ``{placeholders}`` filled from ``params``.

    A placeholder without a value stays visible, so that a wrong catalogue is seen, not hidden.

    Raises:
        KeyError: the catalogue of ``package`` has no such code.
    """
    language = language if language in LANGUAGES else DEFAULT_LANGUAGE
    return string.Formatter().vformat(catalogue(package, language)[code], (), _Visible(params))


class _Visible(dict[str, object]):
    def __missing__(self, key: str) -> str:
        return "{" + key + "}"
