"""Opens the reader of the store that charts read, ``DAQ_READER``."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

from collectors.contract.store_urls import EMBEDDED, INFLUX2, StoreUrl
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
    if url.kind == EMBEDDED:
        return EmbeddedReader(home / "history")
    token = url.token(environ)
    reader: HistoryReader
    # influxdb-client costs 25 MB, so only what is configured is loaded.
    if url.kind == INFLUX2:
        reader = import_module("collectors.history.flux").FluxReader(url, token)
    else:
        http = VictoriaHttp(url.read_url, token, url.ca_file)
        reader = import_module("collectors.history.promql").PromqlReader(http)
    return reader
