"""A Modbus server on TCP: one device, or a gateway to several units."""

import tempfile
from collections.abc import Set
from pathlib import Path

from simulators.certificates import Certificate
from simulators.config import ModbusDevice
from simulators.faults import Effect, FaultBoard
from simulators.listener import Listener
from simulators.memory import NoSuchSignal
from simulators.modbus_framing import Adu, Framing, MbapFraming, RtuFraming
from simulators.modbus_unit import Answer, ExceptionCode, Unit, refusal
from simulators.tcp import TcpDevice
from simulators.truth import TruthLog
from simulators.waveforms import Value
from simulators.wire import Reply

_READS = (1, 2, 3, 4, 23)


class ModbusServer:
    """Every unit behind one TCP port."""

    def __init__(
        self,
        config: ModbusDevice,
        truth: TruthLog,
        *,
        seed: int = 0,
        faults: FaultBoard | None = None,
    ) -> None:
        self.faults = faults or FaultBoard()
        self._framing: Framing = RtuFraming() if config.framing == "rtu_over_tcp" else MbapFraming()
        self._units = {
            unit.unit_id: Unit(unit, device=config.id, seed=seed, faults=self.faults, truth=truth)
            for unit in config.units
        }

    def take_frame(self, received: bytearray) -> bytes | None:
        """Remove one frame, see :class:`simulators.tcp.FrameProtocol`."""
        return self._framing.take_frame(received)

    def answer(self, frame: bytes) -> Reply | None:
        """Answer like a gateway: a unit that does not exist never responds to it."""
        adu = self._framing.unpack(frame)
        effects = self.faults.take(adu.unit_id)
        if not self._framing.has_transaction:
            effects = tuple(effect for effect in effects if effect.kind != "wrong_id")
        kinds = {effect.kind: effect for effect in effects}
        if "silent" in kinds or (self._framing.is_serial and adu.unit_id not in self._units):
            return None
        response, record = self._respond(adu.unit_id, adu.pdu, kinds.get("exception"))
        if effects:
            response = _spoil(response, kinds.keys())
        answer = Adu(
            adu.transaction + ("wrong_id" in kinds) & 0xFFFF,
            adu.unit_id + ("wrong_unit" in kinds) & 0xFF,
            response,
        )
        return Reply(data=self._framing.pack(answer), effects=effects, record=record)

    def hold(self, signal: str, value: Value | None, unit: int | None) -> None:
        """See :meth:`simulators.tcp.FrameProtocol.hold`; without a unit, the first that has it."""
        for unit_id, content in self._units.items():
            if unit in (None, unit_id):
                try:
                    content.hold(signal, value)
                except NoSuchSignal:
                    continue
                return
        raise NoSuchSignal

    def _respond(self, unit_id: int, pdu: bytes, exception: Effect | None) -> Answer:
        unit = self._units.get(unit_id)
        if unit is None:
            return refusal(pdu[0], ExceptionCode.GATEWAY_TARGET_FAILED_TO_RESPOND), None
        if exception is not None:
            code = exception.fault.code or ExceptionCode.SERVER_DEVICE_FAILURE
            return refusal(pdu[0], code), None
        return unit.answer(pdu)


def device(
    config: ModbusDevice, listener: Listener, *, seed: int, faults: FaultBoard, truth: TruthLog
) -> TcpDevice:
    """Return the device that serves ``config``.

    Raises:
        CertificateError: the files of a TLS device cannot be used.
    """
    if config.framing == "tls":
        with tempfile.TemporaryDirectory() as folder:
            files = Certificate(Path(folder, "cert.pem"), Path(folder, "key.pem"))
            ca = None
            if config.tls is not None:
                files, ca = Certificate(Path(config.tls.cert), Path(config.tls.key)), config.tls.ca
            files.ensure(listener.host)
            listener.tls = files.server_context(None if ca is None else Path(ca))
    return TcpDevice(config.id, ModbusServer(config, truth, seed=seed, faults=faults), listener)


def _spoil(response: bytes, kinds: Set[str]) -> bytes:
    """Return a response with fewer registers than were asked for, or of another function."""
    function, content = response[0], response[1:]
    if function in _READS:
        kept = content[1:][: (len(content) - 1) // 4 * 2]
        if "short" in kinds:
            content = bytes([len(kept)]) + kept
        elif "bad_length" in kinds:
            content = content[:1] + kept
    if "wrong_function" in kinds:
        # The neighbour that answers in the same form: 1 and 2, 3 and 4.
        function = (function - 1 ^ 1) + 1 & 0xFF
    return bytes([function]) + content
