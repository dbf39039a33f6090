"""pymcprotocol's 3E frames over a socket that never passes on a wrong answer.

pymcprotocol 0.3.0 receives once and looks at nothing: half an answer decodes as zeros, a closed
connection as success, an answer to the request before as an answer to this one. The frame building
is right and is kept; connecting, sending and receiving are replaced. As every command of the
library goes through ``_send`` and ``_recv``, all of them are guarded.

A 3E frame has no serial number, so after any trouble nothing tells a late answer from the right
one: any error closes the socket.
"""

import contextlib
import socket
import struct
import threading
import time
from typing import Final

from pymcprotocol import Type3E

from collectors.mitsubishi_mc.codec import encode_address
from collectors.runtime.driver import tune_socket

_BATCH_READ: Final = 0x0401
_ROUTE: Final = struct.Struct("<BBHB")
"""Network, PC, request destination I/O and station number; answers repeat them."""
_HEADER: Final = struct.Struct("<2s5sH")
"""Subheader, route, length of what follows (SH-080008, "3E frame")."""
_RESPONSE: Final = b"\xd0\x00"
_MAX_WORDS: Final = 960
_MAX_LENGTH: Final = 2 + 2 * _MAX_WORDS
_TIMER_UNIT_S: Final = 0.25


class FrameError(Exception):
    """What came is not the answer to what was sent; the connection is closed."""


class EndCode(Exception):
    """The PLC answered with an end code other than 0: it understood and refused."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"end code {code:04X}")


class GuardedType3E(Type3E):  # type: ignore[misc] # the library has no type information
    """One connection to one PLC, for one thread; only :meth:`abort` may be called by another.

    Args:
        series: Q, L, QnA, iQ-L or iQ-R.
        network: 0 is the PLC's own network; ``setaccessopt`` cannot set it back to 0.
        station: PC number; 255 is the connected CPU.
        timeout_s: For the connection, and for one whole answer however it is cut up.
    """

    def __init__(self, *, series: str, network: int, station: int, timeout_s: float) -> None:
        super().__init__(plctype=series)
        self.network = network
        self.pc = station
        self.soc_timeout = timeout_s
        # The PLC should give up first and say so, rather than answer after we have left.
        self.timer = max(1, int(timeout_s / _TIMER_UNIT_S) - 1)
        self._is_iq_r = series == "iQ-R"
        self._sock: socket.socket | None = None
        self._sock_lock = threading.Lock()
        self._aborted = False

    def connect(self, ip: str, port: int) -> None:
        """Connect to the first address of a host that accepts.

        Raises:
            OSError: none does; ``TimeoutError`` if it took too long.
        """
        deadline = time.monotonic() + self.soc_timeout
        error: OSError = OSError(f"{ip} has no address")
        for family, kind, protocol, _, address in socket.getaddrinfo(
            ip, port, type=socket.SOCK_STREAM
        ):
            self._adopt(socket.socket(family, kind, protocol))
            try:
                tune_socket(self._socket())
                self._socket().settimeout(max(0.001, deadline - time.monotonic()))
                self._socket().connect(address)
            except OSError as exc:
                error = exc
                self.close()
            else:
                self._is_connected = True
                return
        raise error

    def close(self) -> None:
        """Close the socket; harmless without one."""
        with self._sock_lock:
            sock, self._sock = self._sock, None
            self._is_connected = False
            if sock is not None:
                sock.close()

    def abort(self) -> None:
        """Make a call in another thread return at once, also one that is still connecting."""
        with self._sock_lock:
            self._aborted = True
            if self._sock is not None:
                # Not close(): a number that the other thread still uses could be given again.
                with contextlib.suppress(OSError):
                    self._sock.shutdown(socket.SHUT_RDWR)

    def fileno(self) -> int:
        """Return the socket's descriptor, to watch it while no request is in flight."""
        return self._socket().fileno()

    def read_words(self, device: str, number: int, count: int) -> bytes:
        """Read ``count`` words from ``number`` on (command 0401), 16 bits each of bit devices.

        Returns:
            Two bytes a word, low byte first.

        Raises:
            EndCode: the PLC refused; the connection goes on.
            FrameError: a wrong answer.
            OSError: the connection broke; ``TimeoutError`` if the answer was late.
        """
        request = (
            self._make_commanddata(_BATCH_READ, 0x0002 if self._is_iq_r else 0x0000)
            + encode_address(device, number, is_iq_r=self._is_iq_r)
            + self._encode_value(count)
        )
        try:
            self._send(self._make_senddata(request))
            frame: bytes = self._recv()
            end_code, data = _split(frame)
            if end_code == 0 and len(data) != 2 * count:
                raise FrameError(f"{len(data)} bytes of data instead of {2 * count}")
        except BaseException:
            self.close()
            raise
        if end_code:
            raise EndCode(end_code)
        return data

    def _send(self, send_data: bytes) -> None:
        sock = self._socket()
        try:
            _check_silent(sock)
            sock.settimeout(self.soc_timeout)
            sock.sendall(send_data)
        except BaseException:
            self.close()
            raise

    def _recv(self) -> bytes:
        deadline = time.monotonic() + self.soc_timeout
        try:
            header = self._receive_exactly(_HEADER.size, deadline)
            subheader, route, length = _HEADER.unpack(header)
            expected = _ROUTE.pack(self.network, self.pc, self.dest_moduleio, self.dest_modulesta)
            if subheader != _RESPONSE:
                raise FrameError(f"subheader {subheader.hex()}")
            if route != expected:
                raise FrameError(f"route {route.hex()} instead of {expected.hex()}")
            if not 2 <= length <= _MAX_LENGTH:
                raise FrameError(f"length {length}")
            return header + self._receive_exactly(length, deadline)
        except BaseException:
            self.close()
            raise

    def _receive_exactly(self, size: int, deadline: float) -> bytes:
        sock = self._socket()
        received = bytearray()
        while len(received) < size:
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                raise TimeoutError("no complete answer in time")
            sock.settimeout(remaining_s)
            piece = sock.recv(size - len(received))
            if not piece:
                raise ConnectionResetError("closed by the device")
            received += piece
        return bytes(received)

    def _adopt(self, sock: socket.socket) -> None:
        with self._sock_lock:
            if self._aborted:
                sock.close()
                raise ConnectionAbortedError("closed on request")
            self._sock = sock

    def _socket(self) -> socket.socket:
        sock = self._sock
        if sock is None:
            raise ConnectionError("not connected")
        return sock


def _check_silent(sock: socket.socket) -> None:
    """Raise ``FrameError`` if something came already: it answers no question of ours."""
    sock.setblocking(False)
    try:
        early = sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return
    raise FrameError("data without a request" if early else "closed by the device")


def _split(frame: bytes) -> tuple[int, bytes]:
    """Return end code and data; an error answer has the request's route and command as data."""
    end_code = int.from_bytes(frame[_HEADER.size : _HEADER.size + 2], "little")
    return end_code, frame[_HEADER.size + 2 :]
