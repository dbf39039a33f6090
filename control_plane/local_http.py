"""Requests to our own panel, which never go through a proxy."""

import urllib.request

LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""Ignores http_proxy: a proxy would look for 127.0.0.1 on its own machine."""
