"""Asks VictoriaMetrics over HTTP, with a token and certificates of one's own where needed."""

from __future__ import annotations

import ssl
import urllib.request
from pathlib import Path
from urllib.parse import urlencode


class VictoriaHttp:
    """One server, never through a proxy; may be used from several threads at once."""

    def __init__(self, url: str, token: str = "", ca_file: Path | None = None) -> None:
        self.url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
        if ca_file is not None:
            context = ssl.create_default_context(cafile=ca_file)
            handlers.append(urllib.request.HTTPSHandler(context=context))
        self._opener = urllib.request.build_opener(*handlers)

    def ask(self, path: str, query: dict[str, str] | None = None, *, timeout_s: float) -> bytes:
        """Return the body of the answer; a query is posted, as names need not fit an address.

        Raises:
            urllib.error.HTTPError: the server refuses; its words can be read from it.
            OSError: it does not answer.
        """
        data = urlencode(query).encode() if query is not None else None
        request = urllib.request.Request(self.url + path, data=data, headers=self._headers)
        with self._opener.open(request, timeout=timeout_s) as answer:
            body: bytes = answer.read()
            return body
