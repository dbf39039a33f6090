"""Clients of the live channel that behave as panels do: subscribe, listen, come back."""

import json
import random
import threading
import time
from collections import Counter

from installation import Installation
from simple_websocket import Client, ConnectionClosed, ConnectionError

_TOPICS = ("process_status", "health_checks", "performance", "error_alerts")
_PATIENCE_S = 0.5


class Panel:
    """One connection after the other, in a thread of its own, until :meth:`stop`."""

    def __init__(self, installation: Installation) -> None:
        self._url = f"ws://127.0.0.1:{installation.port}/ws"
        self._headers = {"Authorization": f"Bearer {installation.token}"}
        self._stop = threading.Event()
        self._heard = time.monotonic()
        self.longest_silence_s = 0.0
        self.frames = self.connections = 0
        self.ends: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._listen()
            except (ConnectionClosed, ConnectionError, OSError) as exc:
                self.ends[str(exc).split(" {")[0]] += 1
                self._stop.wait(random.uniform(0.1, 1.0))

    def _listen(self) -> None:
        client = Client(self._url, subprotocols=["daq.v1"], headers=self._headers)
        try:
            client.send(json.dumps({"id": 0, "op": "hello", "features": {"batch": True}}))
            for number, topic in enumerate(_TOPICS, 1):
                client.send(json.dumps({"id": number, "op": "subscribe", "topic": topic}))
            self.connections += 1
            while not self._stop.is_set():
                if client.receive(timeout=_PATIENCE_S) is None:
                    continue
                now = time.monotonic()
                self.longest_silence_s = max(self.longest_silence_s, now - self._heard)
                self._heard = now
                self.frames += 1
        finally:
            client.close()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def line(panels: list[Panel]) -> str:
    """Say what all of them saw."""
    ends = sum((panel.ends for panel in panels), Counter())
    silence_s = max((panel.longest_silence_s for panel in panels), default=0.0)
    return (
        f"{len(panels)} panels: {sum(panel.frames for panel in panels)} frames, "
        f"{sum(panel.connections for panel in panels)} connections, "
        f"longest silence {silence_s:.1f} s; ended or refused: {dict(ends)}"
    )
