"""The hub on a TLS connection, where a write can be refused amid a record."""

import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from live_peer import Peer
from test_security_server import make_certificate

from control_plane.live.connection import Visitor
from control_plane.live.hub import Hub
from control_plane.live.limits import Pace
from control_plane.live.seats import SeatLimits

STATUS = "process_status"


@pytest.fixture
def hub() -> Iterator[Hub]:
    limits = SeatLimits(clients=5, per_user=5, per_address=5)
    hub = Hub(limits, lambda: datetime(2026, 1, 31, tzinfo=UTC), pace=Pace(stuck_s=3.0))
    hub.start()
    yield hub
    hub.stop()


class TlsPeer(Peer):
    """A peer whose both ends speak TLS; what gunicorn hands over is such a socket, too."""

    certificates: tuple[Path, Path]

    def _serve(self, hub: Hub, sock: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self.certificates)
        with context.wrap_socket(sock, server_side=True) as secure:
            hub.serve(secure, self.visitor)
        hub.leave_seat(self.visitor)

    def secure(self) -> None:
        context = ssl.create_default_context(cafile=str(self.certificates[0]))
        self.sock = context.wrap_socket(self.sock, server_hostname="localhost")


def test_a_slow_reader_behind_tls_gets_whole_frames_and_the_newest_states(
    hub: Hub, tmp_path: Path
) -> None:
    TlsPeer.certificates = make_certificate(tmp_path)
    peer = TlsPeer(hub, Visitor(user="alice"))
    peer.secure()
    peer.ask("subscribe", topic=STATUS, rate_ms=50)
    snapshot = peer.topic_frame()
    pause = threading.Event()
    for n in range(40):
        hub.publish(STATUS, f"key-{n % 4}", {"name": f"key-{n % 4}", "n": n, "text": "é" * 50_000})
        pause.wait(0.05)
    position, newest = snapshot["seq"], {}
    while position < 40:
        delta = peer.topic_frame()
        assert delta["prev"] <= position < delta["seq"]
        position = delta["seq"]
        newest[delta["data"]["name"]] = delta["data"]["n"]
    assert newest == {"key-0": 36, "key-1": 37, "key-2": 38, "key-3": 39}
    assert hub.cut_off == 0
    peer.ask("ping")
    peer.end()
