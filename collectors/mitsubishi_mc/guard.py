"""pymcprotocol's 3E and 4E frames over a socket that never passes on a wrong answer.

pymcprotocol 0.3.0 receives once and looks at nothing: half an answer decodes as zeros, a closed
connection as success, an answer to the request before as an answer to this one. Its frame building
is right, but for device numbers in ASCII code, and is kept; connecting, sending, receiving and
device numbers are replaced. As every command of the library goes through ``_send`` and ``_recv``,
all of them are guarded.

A 3E frame has no serial number, so after any trouble nothing tells a late answer from the right
one: any error closes the socket.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any, Final

from pymcprotocol import Type3E, Type4E

from collectors.contract.addresses_mc import parse_mc_address
from collectors.mitsubishi_mc.frames import (
    DWORD_BYTES,
    WORD_BYTES,
    Access,
    Device,
    EndCode,
    FrameError,
    Header,
)
from collectors.runtime.driver import tune_socket

_READ_MODEL: Final = 0x0101
_BATCH_READ: Final = 0x0401
_RANDOM_READ: Final = 0x0403
_BATCH_WRITE: Final = 0x1401
_RANDOM_WRITE: Final = 0x1402
_BIT_UNITS: Final = 1
_MODEL_BYTES: Final = 16
_MAX_LENGTH: Final = 2 + 2 * 960
"""End code and the longest data, in bytes of binary code."""


def _addresses_of(host: str, port: int) -> list[tuple[Any, ...]]:
    try:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as exc:
        raise OSError(f"{host} is no host name: {exc}") from exc


class GuardedType3E(Type3E):  # type: ignore[misc] # the library has no type information
    """One connection to one PLC, for one thread; only :meth:`abort` may be called by another."""

    _header = Header(has_serial=False)

    def __init__(self, access: Access) -> None:
        coding = access.coding
        # The library knows no FX5, and wide frames of iQ-R only.
        super().__init__(plctype="iQ-R" if coding.is_wide else "Q")
        self._set_commtype("ascii" if coding.is_ascii else "binary")
        # setaccessopt() cannot set a number back to 0.
        self.network = access.network
        self.pc = access.station
        self.dest_moduleio = access.module_io
        self.dest_modulesta = access.module_station
        self.soc_timeout = access.timeout_s
        self.timer = access.timer
        self._coding = coding
        self._scale = 2 if coding.is_ascii else 1
        self._subcommand = 0x0002 if coding.is_wide else 0x0000
        self._sent = b""
        self.has_answered = False
        """Whether any answer was right since the connection was opened."""
        self._sock: socket.socket | None = None
        self._sock_lock = threading.Lock()
        self._aborted = False

    def connect(self, ip: str, port: int) -> None:
        """Connect to the first address of a host that accepts.

        Raises:
            OSError: none does; ``TimeoutError`` if it took too long.
        """
        addresses = _addresses_of(ip, port)
        if not addresses:
            raise OSError(f"{ip} has no address")
        self.connect_to(addresses)

    def connect_to(self, addresses: Sequence[tuple[Any, ...]]) -> None:
        """Connect to the first of what ``socket.getaddrinfo`` gave; raises as :meth:`connect`."""
        deadline = time.monotonic() + self.soc_timeout
        error: OSError = OSError("no address")
        for number, (family, kind, protocol, _, address) in enumerate(addresses):
            # One that says nothing must not use up the time of those after it.
            share_s = (deadline - time.monotonic()) / (len(addresses) - number)
            self._adopt(socket.socket(family, kind, protocol))
            try:
                tune_socket(self._socket())
                self._socket().settimeout(max(0.001, share_s))
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

    def read_model(self) -> str:
        """Return the name of the CPU, such as ``Q03UDVCPU``; raises as :meth:`read_words`."""
        request = self._make_commanddata(_READ_MODEL, 0)
        data = self._ask(request, _MODEL_BYTES + 2 * self._scale)
        return data[:_MODEL_BYTES].decode("ascii", "replace").strip()

    def read_words(self, first: Device, count: int) -> bytes:
        """Read ``count`` words from ``first`` on (command 0401), 16 bits each of bit devices.

        Returns:
            Two bytes a word, low byte first.

        Raises:
            EndCode: the PLC refused; the connection goes on.
            FrameError: a wrong answer.
            OSError: the connection broke; ``TimeoutError`` if the answer was late.
        """
        head = self._make_commanddata(_BATCH_READ, self._subcommand)
        request = head + self._coding.device(first) + self._encode_value(count)
        return self._decoded(self._ask(request, WORD_BYTES * count * self._scale), WORD_BYTES)

    def read_random(self, words: Sequence[Device], dwords: Sequence[Device]) -> bytes:
        """Read single words, then double words, wherever they are (command 0403).

        Returns and raises as :meth:`read_words`; of a double word the low word comes first.
        """
        head = self._make_commanddata(_RANDOM_READ, self._subcommand)
        counts = b"".join(self._encode_value(len(part), "byte") for part in (words, dwords))
        devices = b"".join(self._coding.device(device) for device in (*words, *dwords))
        middle = WORD_BYTES * len(words) * self._scale
        end = middle + DWORD_BYTES * len(dwords) * self._scale
        data = self._ask(head + counts + devices, end)
        return self._decoded(data[:middle], WORD_BYTES) + self._decoded(data[middle:], DWORD_BYTES)

    def write_words(self, first: Device, content: bytes) -> None:
        """Write words from ``first`` on (command 1401); raises as :meth:`read_words`."""
        head = self._make_commanddata(_BATCH_WRITE, self._subcommand)
        count = self._encode_value(len(content) // WORD_BYTES)
        self._ask(head + self._coding.device(first) + count + self._coding.encode(content), 0)

    def write_bit(self, device: Device, on: bool) -> None:
        """Set one bit of a bit device (command 1401); raises as :meth:`read_words`."""
        head = self._make_commanddata(_BATCH_WRITE, self._subcommand | _BIT_UNITS)
        count = self._encode_value(1)
        self._ask(head + self._coding.device(device) + count + self._coding.bit(on), 0)

    def write_dword(self, device: Device, content: bytes) -> None:
        """Write one double word (command 1402), the only way into some devices of iQ-R."""
        head = self._make_commanddata(_RANDOM_WRITE, self._subcommand)
        counts = self._encode_value(0, "byte") + self._encode_value(1, "byte")
        encoded = self._coding.encode(content, DWORD_BYTES)
        self._ask(head + counts + self._coding.device(device) + encoded, 0)

    def _ask(self, request: bytes, expected_bytes: int) -> bytes:
        """Return the data of the answer, as it came; raises as :meth:`read_words`."""
        try:
            self._send(self._make_senddata(request))
            frame: bytes = self._recv()
            end_code, data = self._split(frame)
            if end_code == 0 and len(data) != expected_bytes:
                raise FrameError(f"{len(data)} bytes of data instead of {expected_bytes}")
        except BaseException:
            self.close()
            raise
        self.has_answered = True
        if end_code:
            raise EndCode(end_code)
        return data

    def _decoded(self, data: bytes, unit_bytes: int) -> bytes:
        try:
            return self._coding.decode(data, unit_bytes)
        except FrameError:
            self.close()
            raise

    def _make_devicedata(self, device: str) -> bytes:
        """Encode a device for the library's own commands, which know it by its name."""
        address = parse_mc_address(device, self._coding.series)
        return self._coding.device(Device(address.device, address.number))

    def _send(self, send_data: bytes) -> None:
        sock = self._socket()
        try:
            self._check_silent(sock)
            sock.settimeout(self.soc_timeout)
            sock.sendall(send_data)
            self._sent = send_data
        except BaseException:
            self.close()
            raise

    def _recv(self) -> bytes:
        deadline = time.monotonic() + self.soc_timeout
        length_at, length_bytes = self._header.length_at * self._scale, 2 * self._scale
        try:
            header = self._receive_exactly(length_at + length_bytes, deadline)
            self._header.check(self._sent, header, is_ascii=self._coding.is_ascii)
            length = self._number(header[length_at:])
            if not 2 * self._scale <= length <= _MAX_LENGTH * self._scale:
                raise FrameError(f"length {length}")
            return header + self._receive_exactly(length, deadline)
        except BaseException:
            self.close()
            raise

    def _split(self, frame: bytes) -> tuple[int, bytes]:
        """Return end code and data; an error answer has the request's route and command as data."""
        start = (self._header.length_at + 2) * self._scale
        end = start + 2 * self._scale
        return self._number(frame[start:end]), frame[end:]

    def _number(self, field: bytes) -> int:
        if not self._coding.is_ascii:
            return int.from_bytes(field, "little")
        return int.from_bytes(self._coding.decode(field), "little")

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
                raise ConnectionResetError(self.closed_reason)
            received += piece
        return bytes(received)

    def _check_silent(self, sock: socket.socket) -> None:
        """Raise an error if something came already: it answers no question of ours."""
        sock.setblocking(False)
        try:
            early = sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return
        if not early:
            raise ConnectionResetError(self.closed_reason)
        raise FrameError("data without a request")

    @property
    def closed_reason(self) -> str:
        """What it most likely means that the PLC ends the connection now."""
        if self.has_answered:
            return "closed by the device"
        # A PLC accepts a second client of a connection entry, and then hangs up.
        return "closed by the device before any answer; another client may use its connection"

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


class GuardedType4E(GuardedType3E, Type4E):  # type: ignore[misc] # the library has no type information
    """The same with frames that carry a serial number: a new one with every request."""

    _header = Header(has_serial=True)

    def _make_senddata(self, requestdata: bytes) -> bytes:
        self.set_subheaderserial((self.subheaderserial + 1) & 0xFFFF)
        frame: bytes = super()._make_senddata(requestdata)
        return frame
