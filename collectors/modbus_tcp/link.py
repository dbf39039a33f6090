"""A pymodbus connection that fails at once and never passes on a wrong answer.

What pymodbus 3.16.1 does by itself, and what is done about it here:

- A request whose connection breaks waits for its time-out: the request is failed by the callback.
- An answer that is shorter than asked, or of another function, counts as good: each frame is
  checked before pymodbus sees it, and the length after.
- An answer to another transaction is skipped in silence: it means that request and answer are out
  of step, so the connection is given up.
- ``connect()`` hides why it failed: the socket is opened here.
"""

import asyncio
import logging
import socket
import struct
from typing import Final

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU

from collectors.contract.points import Quality
from collectors.runtime.driver import ConnectionLost, OnLost, reason_of, tune_socket

_HEADER: Final = struct.Struct(">HHHB")
"""Transaction, protocol (0), length of what follows, unit: Modbus Messaging on TCP/IP, 3.1.3."""
_EXCEPTION: Final = 0x80
_MAX_LENGTH: Final = 254

FUNCTION_CODES: Final = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}

# pymodbus logs each failed request and each refused connection at error; the runtime logs changes.
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)


class DeviceRefused(Exception):
    """The device answered with a Modbus exception code."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"Modbus exception {code}")


class _RawAnswer(ModbusPDU):
    """Keeps the bytes: one struct decodes a block faster than pymodbus makes a list of it."""

    payload = b""

    def decode(self, data: bytes) -> None:
        self.payload = data


_ANSWERS: Final = tuple(
    type(f"_RawAnswer{code}", (_RawAnswer,), {"function_code": code})
    for code in FUNCTION_CODES.values()
)


class ModbusLink:
    """One TCP connection to one unit. One request is in flight at a time."""

    def __init__(self, unit_id: int, timeout_s: float, on_lost: OnLost) -> None:
        self._unit_id = unit_id
        self._timeout_s = timeout_s
        self._on_lost = on_lost
        self._client: AsyncModbusTcpClient | None = None
        self._function_code: int | None = None
        """Of the request in flight."""
        self._lost: ConnectionLost | None = None

    async def open(self, host: str, port: int) -> None:
        """Connect.

        Raises:
            ConnectionLost: refused, unreachable, unknown host or too slow.
        """
        client = AsyncModbusTcpClient(
            host,
            port=port,
            # The deadline is ours, see request(); pymodbus must not come first.
            timeout=2 * self._timeout_s,
            retries=0,
            reconnect_delay=0,
            trace_packet=self._check_packet,
            trace_connect=self._connection_changed,
        )
        for answer in _ANSWERS:
            client.register(answer)
        self._lost = None
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout_s):
                transport, _ = await loop.create_connection(lambda: client.ctx, host, port)
        except TimeoutError:
            raise ConnectionLost("connect timed out", Quality.BAD_TIMEOUT) from None
        except OSError as exc:
            raise ConnectionLost(reason_of(exc)) from exc
        self._client = client
        sock: socket.socket = transport.get_extra_info("socket")
        tune_socket(sock)

    async def request(self, table: str, start: int, count: int) -> bytes:
        """Read ``count`` registers or bits and return their bytes as they came.

        Raises:
            DeviceRefused: the device answered with an exception.
            ConnectionLost: no answer, a wrong answer, or a broken connection; it is closed now.
        """
        client = self._client
        if client is None or self._lost is not None:
            raise self._lost or ConnectionLost("not connected")
        self._function_code = FUNCTION_CODES[table]
        calls = {
            "coil": client.read_coils,
            "discrete": client.read_discrete_inputs,
            "holding": client.read_holding_registers,
            "input": client.read_input_registers,
        }
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await calls[table](start, count=count, device_id=self._unit_id)
        except TimeoutError:
            self._give_up(ConnectionLost("no answer in time", Quality.BAD_TIMEOUT))
        except ModbusException as exc:
            self._give_up(self._lost or ConnectionLost(str(exc)))
        finally:
            self._function_code = None
        if self._lost is not None:
            raise self._lost
        if answer.isError():
            raise DeviceRefused(answer.exception_code)
        return self._checked(answer, table, count)

    def close(self) -> None:
        """Close the connection; harmless without one."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _checked(self, answer: ModbusPDU, table: str, count: int) -> bytes:
        size_bytes = (count + 7) // 8 if table in ("coil", "discrete") else 2 * count
        payload = answer.payload if isinstance(answer, _RawAnswer) else b""
        if len(payload) != 1 + size_bytes or payload[0] != size_bytes:
            lost = ConnectionLost(f"answer of {len(payload)} bytes instead of {1 + size_bytes}")
            self._give_up(lost)
            raise lost
        return payload[1:]

    def _check_packet(self, sending: bool, data: bytes) -> bytes:
        """Look at all that has come since the last frame; called by pymodbus for each piece."""
        if sending or self._lost is not None:
            return data if sending else b""
        wrong = self._fault_of(data)
        if wrong is None:
            return data
        self._lose(ConnectionLost(wrong))
        return b""

    def _fault_of(self, data: bytes) -> str | None:
        if self._function_code is None:
            return "answer without a request"
        if len(data) <= _HEADER.size:
            return None
        transaction, protocol, length, unit = _HEADER.unpack_from(data)
        code = data[_HEADER.size]
        assert self._client is not None
        checks = (
            (protocol != 0, f"answer of protocol {protocol}"),
            (transaction != self._client.ctx.request_transaction_id, "answer to another request"),
            (not 3 <= length <= _MAX_LENGTH, f"answer with length {length}"),
            (unit != self._unit_id != 0, f"answer from unit {unit}"),
            (code & ~_EXCEPTION != self._function_code, f"answer to function {code}"),
            (code & _EXCEPTION and length != 3, "exception of wrong length"),
            (len(data) > length + 6, "more than one answer"),
        )
        return next((fault for is_wrong, fault in checks if is_wrong), None)

    def _connection_changed(self, connected: bool) -> None:
        if not connected:
            self._lose(ConnectionLost("closed by the device"))

    def _lose(self, lost: ConnectionLost) -> None:
        """End the connection and whoever waits for an answer on it."""
        if self._lost is not None:
            return
        was_idle = self._function_code is None
        client = self._client
        self._give_up(lost)
        if client is not None and not was_idle and not client.ctx.response_future.done():
            client.ctx.response_future.set_exception(ModbusException(lost.reason))
        if was_idle:
            self._on_lost(lost)

    def _give_up(self, lost: ConnectionLost) -> None:
        self._lost = self._lost or lost
        self.close()
