"""A pymodbus connection that fails at once and never passes on a wrong answer.

What pymodbus 3.16.1 does by itself, and what is done about it here:

- A request whose connection breaks waits for its time-out: the request is failed by the callback.
- An answer that is shorter than asked, or of another function, counts as good: each frame is
  checked before pymodbus sees it (``framing``), and the length after.
- An answer to another transaction is skipped in silence: it means that request and answer are out
  of step, so the connection is given up. Only the late answer to a request that was given up
  without giving up the connection is skipped.
- ``connect()`` hides why it failed, and called twice it leaks a connection: the socket is opened
  here, once.
"""

import asyncio
import logging
import socket
import ssl
from collections import deque
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.framer import FramerType
from pymodbus.pdu import ModbusPDU

from collectors.contract.config_modbus import Framing
from collectors.contract.points import Quality
from collectors.modbus_tcp.framing import Expected, check_mbap, check_rtu, with_unit
from collectors.runtime.driver import ConnectionLost, NoAnswer, OnLost, reason_of, tune_socket

FUNCTION_CODES: Final = {"coil": 1, "discrete": 2, "holding": 3, "input": 4}
_MOST_ABANDONED: Final = 64

# pymodbus logs each failed request and each refused connection at error; the runtime logs changes.
logging.getLogger("pymodbus").setLevel(logging.CRITICAL)


class DeviceRefused(Exception):
    """The device answered with a Modbus exception code."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"Modbus exception {code}")


class _RawAnswer(ModbusPDU):
    """Keeps the bytes: one struct decodes a block faster than pymodbus makes a list of it."""

    rtu_byte_count_pos = 2
    payload = b""

    def decode(self, data: bytes) -> None:
        self.payload = data


_ANSWERS: Final = tuple(
    type(f"_RawAnswer{code}", (_RawAnswer,), {"function_code": code})
    for code in FUNCTION_CODES.values()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a device listens and how it frames.

    Attributes:
        tls: For ``framing`` ``tls`` only.
        server_name: Name in the device's certificate.
    """

    host: str
    port: int
    framing: Framing = "tcp"
    tls: ssl.SSLContext | None = None
    server_name: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """Who is asked, and how patiently.

    Attributes:
        keep_link: A silent unit costs nobody else the connection; with RTU frames it is opened
            again for the next one.
    """

    unit_id: int
    timeout_s: float
    accept_any: bool = False
    keep_link: bool = False


class ModbusLink:
    """One TCP connection. One request is in flight at a time."""

    def __init__(self, endpoint: Endpoint, on_lost: OnLost) -> None:
        self._endpoint = endpoint
        self._on_lost = on_lost
        self._is_rtu = endpoint.framing == "rtu_over_tcp"
        self._check = check_rtu if self._is_rtu else check_mbap
        self._client: AsyncModbusTcpClient | None = None
        self._unit = Unit(unit_id=0, timeout_s=1.0)
        self._function: int | None = None
        """Of the request in flight."""
        self._abandoned: deque[int] = deque(maxlen=_MOST_ABANDONED)
        self._lost: ConnectionLost | None = None

    @property
    def is_open(self) -> bool:
        return self._client is not None and self._lost is None

    async def open(self, timeout_s: float) -> None:
        """Connect.

        Raises:
            ConnectionLost: refused, unreachable, unknown host, not trusted, or too slow.
        """
        place = self._endpoint
        client = AsyncModbusTcpClient(
            place.host,
            port=place.port,
            framer=FramerType.RTU if self._is_rtu else FramerType.SOCKET,
            # The deadline is ours, see _call(); pymodbus must not come first.
            timeout=10 * timeout_s,
            retries=0,
            reconnect_delay=0,
            trace_packet=self._check_packet,
            trace_connect=self._connection_changed,
        )
        for answer in _ANSWERS:
            client.register(answer)
        self._lost = None
        self._abandoned.clear()
        try:
            async with asyncio.timeout(timeout_s):
                transport, _ = await asyncio.get_running_loop().create_connection(
                    lambda: client.ctx,
                    place.host,
                    place.port,
                    ssl=place.tls,
                    server_hostname=place.server_name if place.tls else None,
                )
        except TimeoutError:
            raise ConnectionLost("connect timed out", Quality.BAD_TIMEOUT) from None
        except ssl.SSLError as exc:
            raise ConnectionLost(f"TLS: {exc.reason or exc}") from exc
        except OSError as exc:
            raise ConnectionLost(reason_of(exc)) from exc
        self._client = client
        sock: socket.socket = transport.get_extra_info("socket")
        tune_socket(sock)

    async def read(self, unit: Unit, table: str, start: int, count: int) -> bytes:
        """Read ``count`` registers or bits and return their bytes as they came.

        Raises:
            DeviceRefused: the device answered with an exception.
            NoAnswer: the device was silent; others may go on with the connection.
            ConnectionLost: no answer, a wrong answer, or a broken connection; it is closed now.
        """
        client = self._usable()
        calls = {
            "coil": client.read_coils,
            "discrete": client.read_discrete_inputs,
            "holding": client.read_holding_registers,
            "input": client.read_input_registers,
        }
        call = calls[table](start, count=count, device_id=unit.unit_id)
        answer = await self._call(unit, FUNCTION_CODES[table], call)
        size_bytes = (count + 7) // 8 if table in ("coil", "discrete") else 2 * count
        payload = answer.payload if isinstance(answer, _RawAnswer) else b""
        if len(payload) != 1 + size_bytes or payload[0] != size_bytes:
            self._refuse(f"answer of {len(payload)} bytes instead of {1 + size_bytes}")
        return payload[1:]

    async def write_bits(self, unit: Unit, start: int, bits: list[bool], *, single: bool) -> None:
        """Write coils, with function 5 if ``single``, else 15; errors as :meth:`read`."""
        client = self._usable()
        if single:
            call = client.write_coil(start, bits[0], device_id=unit.unit_id)
            answer = await self._call(unit, 5, call)
            self._require_echo(answer.address == start and answer.bits[:1] == bits)
        else:
            call = client.write_coils(start, bits, device_id=unit.unit_id)
            answer = await self._call(unit, 15, call)
            self._require_echo(answer.address == start and answer.count == len(bits))

    async def write_words(self, unit: Unit, start: int, words: list[int], *, single: bool) -> None:
        """Write registers, with function 6 if ``single``, else 16; errors as :meth:`read`."""
        client = self._usable()
        if single:
            call = client.write_register(start, words[0], device_id=unit.unit_id)
            answer = await self._call(unit, 6, call)
            self._require_echo(answer.address == start and answer.registers == words)
        else:
            call = client.write_registers(start, words, device_id=unit.unit_id)
            answer = await self._call(unit, 16, call)
            self._require_echo(answer.address == start and answer.count == len(words))

    async def write_mask(self, unit: Unit, start: int, keep: int, set_bits: int) -> None:
        """Keep the bits ``keep`` of a register and set ``set_bits``; errors as :meth:`read`.

        Function 22 does so in one step (Modbus Application Protocol V1.1b3, 6.16).
        """
        call = self._usable().mask_write_register(
            address=start, and_mask=keep, or_mask=set_bits, device_id=unit.unit_id
        )
        answer = await self._call(unit, 22, call)
        echo = (answer.address, getattr(answer, "and_mask", 0), getattr(answer, "or_mask", 0))
        self._require_echo(echo == (start, keep, set_bits))

    def close(self) -> None:
        """Close the connection; harmless without one."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    def _usable(self) -> AsyncModbusTcpClient:
        if self._client is None or self._lost is not None:
            raise self._lost or ConnectionLost("not connected")
        return self._client

    async def _call(self, unit: Unit, function: int, call: Awaitable[ModbusPDU]) -> ModbusPDU:
        self._unit, self._function = unit, function
        try:
            async with asyncio.timeout(unit.timeout_s):
                answer = await call
        except TimeoutError:
            self._no_answer(unit)
        except ModbusException as exc:
            self._give_up(self._lost or ConnectionLost(str(exc)))
        finally:
            self._function = None
        if self._lost is not None:
            raise self._lost
        if answer.isError():
            raise DeviceRefused(answer.exception_code)
        return answer

    def _no_answer(self, unit: Unit) -> None:
        if not unit.keep_link or self._client is None:
            self._give_up(ConnectionLost("no answer in time", Quality.BAD_TIMEOUT))
            return
        if self._is_rtu:
            # Without transaction numbers a late answer could be taken for the next one. The unit
            # is silent, not the way to it: whoever comes next opens the connection again.
            self._give_up(ConnectionLost("no answer in time", Quality.BAD_TIMEOUT))
        else:
            self._abandoned.append(self._client.ctx.request_transaction_id)
        raise NoAnswer

    def _require_echo(self, is_right: bool) -> None:
        if not is_right:
            self._refuse("answer to another write")

    def _refuse(self, fault: str) -> None:
        lost = ConnectionLost(fault)
        self._give_up(lost)
        raise lost

    def _check_packet(self, sending: bool, data: bytes) -> bytes:
        """Look at all that has come since the last frame; called by pymodbus for each piece."""
        if sending or self._lost is not None:
            return data if sending else b""
        assert self._client is not None
        unit, expected = self._unit, None
        if self._function is not None:
            expected = Expected(
                transaction=self._client.ctx.request_transaction_id,
                unit_id=0 if unit.accept_any else unit.unit_id,
                function=self._function,
                abandoned=self._abandoned,
            )
        elif self._abandoned and not self._is_rtu:
            expected = Expected(transaction=-1, unit_id=0, function=0, abandoned=self._abandoned)
        wrong = self._check(data, expected)
        if wrong is None:
            return with_unit(data, unit.unit_id) if unit.accept_any and not self._is_rtu else data
        self._lose(ConnectionLost(wrong))
        return b""

    def _connection_changed(self, connected: bool) -> None:
        if not connected:
            self._lose(ConnectionLost("closed by the device"))

    def _lose(self, lost: ConnectionLost) -> None:
        """End the connection and whoever waits for an answer on it."""
        if self._lost is not None:
            return
        was_idle = self._function is None
        client = self._client
        self._give_up(lost)
        if client is not None and not was_idle and not client.ctx.response_future.done():
            client.ctx.response_future.set_exception(ModbusException(lost.reason))
        if was_idle:
            self._on_lost(lost)

    def _give_up(self, lost: ConnectionLost) -> None:
        self._lost = self._lost or lost
        self.close()
