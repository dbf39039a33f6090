"""Opens the reader of the store that charts read, ``DAQ_READER``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

from collectors.contract.store_urls import EMBEDDED, INFLUX2, VICTORIA, StoreUrl
from collectors.history.embedded.reader import EmbeddedReader
from collectors.history.read import HistoryReader
from collectors.history.victoria_http import VictoriaHttp


def open_reader(
    url: StoreUrl, home: Path, environ: Mapping[str, str] | None = None
) -> HistoryReader:
    """Return the reader of the store at ``url``; connects to nothing yet.

    Raises:
        StoreUrlError: its token is not where the URL says.
    """
    return READERS[url.kind](url, home, environ)


def _embedded(_url: StoreUrl, home: Path, _environ: Mapping[str, str] | None) -> HistoryReader:
    return EmbeddedReader(home / "history")


def _influx(url: StoreUrl, _home: Path, environ: Mapping[str, str] | None) -> HistoryReader:
    # influxdb-client costs 25 MB, so only what is configured is loaded.
    module = import_module("collectors.history.flux")
    reader: HistoryReader = module.FluxReader(url, url.token(environ))
    return reader


def _victoria(url: StoreUrl, _home: Path, environ: Mapping[str, str] | None) -> HistoryReader:
    http = VictoriaHttp(url.read_url, url.token(environ), url.ca_file)
    reader: HistoryReader = import_module("collectors.history.promql").PromqlReader(http)
    return reader


READERS: Mapping[str, Callable[[StoreUrl, Path, Mapping[str, str] | None], HistoryReader]] = {
    EMBEDDED: _embedded,
    INFLUX2: _influx,
    VICTORIA: _victoria,
}
"""How the reader of each kind of store is opened."""
