"""What a simulator serves: one TOML file a process, one protocol a file, one or many devices."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import AfterValidator, Field, TypeAdapter, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from simulators.addresses import AddressError, check_node_id
from simulators.faults import SUPPORTED, FaultOrder, ScenarioStep
from simulators.mc_devices import PROFILES, Series
from simulators.mc_frames import CodeSetting, FrameSetting
from simulators.signals import (
    McSignal,
    ModbusSignal,
    Name,
    OpcUaSignal,
    Strict,
    reject_duplicate_names,
    reject_overlaps,
)


def _in_folder(path: str, info: ValidationInfo) -> str:
    return str((info.context or {}).get("folder", Path()) / path)


PathText = Annotated[str, Field(min_length=1), AfterValidator(_in_folder)]
"""A path beside the simulator's file, unless absolute."""
_HIGHEST_CODE = {"modbus_tcp": 0xFF, "mitsubishi_mc": 0xFFFF, "opcua": 0xFFFFFFFF}
Host = Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{1,253}$")]
Port = Annotated[int, Field(ge=0, le=65535)]
Limit = Annotated[int, Field(ge=0, le=1_000_000)]
SecurityPolicy = Literal["none", "basic256sha256", "aes128_sha256_rsaoaep", "aes256_sha256_rsapss"]
SecurityMode = Literal["sign", "sign_and_encrypt"]


class ModbusUnit(Strict):
    """One device, or one device behind a gateway."""

    unit_id: Annotated[int, Field(ge=0, le=255)] = 1
    gaps_readable: bool = True
    """Registers between the first and the last signal of a table exist and read 0."""
    signals: Annotated[tuple[ModbusSignal, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def _signals_are_distinct(self) -> Self:
        reject_duplicate_names(self.signals)
        reject_overlaps(self.signals, lambda _area: 0x10000)
        return self


class _Device(Strict):
    """What is reached through one port."""

    id: Name = "device"
    port: Port = 0
    """0 lets the kernel choose a free one."""
    copies: Annotated[int, Field(ge=1, le=1000)] = 1
    """So many alike, each with a seed of its own: ID-1 on this port, ID-2 on the next, …"""

    @model_validator(mode="after")
    def _ports_exist(self) -> Self:
        if self.port + self.copies - 1 > 65535:
            raise PydanticCustomError("copies_ports", "ports", {"id": self.id})
        return self

    def each(self) -> "list[Self]":
        """Return one device for each copy."""
        if self.copies == 1:
            return [self]
        return [
            self.model_copy(
                update={
                    "id": f"{self.id}-{n + 1}",
                    "port": self.port and self.port + n,
                    "copies": 1,
                }
            )
            for n in range(self.copies)
        ]


class CertificateFiles(Strict):
    """PEM files, made, self-signed, if neither is there."""

    cert: PathText
    key: PathText


class TlsFiles(CertificateFiles):
    ca: PathText | None = None
    """Clients must show a certificate of this one."""


class ModbusDevice(_Device):
    framing: Literal["tcp", "rtu_over_tcp", "tls"] = "tcp"
    tls: TlsFiles | None = None
    """Without it, TLS has a certificate that is made at each start."""
    units: Annotated[tuple[ModbusUnit, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def _units_are_distinct(self) -> Self:
        seen: set[int] = set()
        for unit in self.units:
            if unit.unit_id in seen:
                raise PydanticCustomError("duplicate_unit", "unit", {"unit_id": unit.unit_id})
            seen.add(unit.unit_id)
        return self


class OperationLimits(Strict):
    """How much one call may ask for; 0: as much as a client likes."""

    max_nodes_per_read: Limit = 0
    max_nodes_per_write: Limit = 0
    max_nodes_per_browse: Limit = 0
    max_monitored_items_per_call: Limit = 0


class OpcUaDevice(_Device):
    update_s: Annotated[float, Field(ge=0.01, le=3600)] = 0.1
    security_policies: Annotated[tuple[SecurityPolicy, ...], Field(min_length=1, strict=False)] = (
        "none",
    )
    security_modes: Annotated[tuple[SecurityMode, ...], Field(min_length=1, strict=False)] = (
        "sign",
        "sign_and_encrypt",
    )
    certificate: CertificateFiles | None = None
    """Without it, a secure server has a certificate that is made at each start."""
    users: dict[str, str] = Field(default_factory=dict)
    """Passwords by name."""
    anonymous: bool = True
    limits: OperationLimits = OperationLimits()
    namespaces: Annotated[tuple[str, ...], Field(min_length=1, strict=False)] = (
        "urn:daqplane:simulator:signals",
    )
    """URIs of the namespaces from 2 up."""
    signals: Annotated[tuple[OpcUaSignal, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def _somebody_may_sign_in(self) -> Self:
        if not self.anonymous and not self.users:
            raise PydanticCustomError("no_users", "users")
        return self

    @model_validator(mode="after")
    def _signals_are_distinct(self) -> Self:
        namespaces = range(2, 2 + len(self.namespaces))
        for number, signal in enumerate(self.signals):
            try:
                check_node_id(signal.address, namespaces)
            except AddressError as exc:
                raise _bad_address(number, signal, exc) from None
        reject_duplicate_names(self.signals)
        seen: dict[str, str] = {}
        for signal in self.signals:
            other = seen.setdefault(signal.address, signal.name)
            if other != signal.name:
                raise PydanticCustomError("overlap", "overlap", {"a": other, "b": signal.name})
        return self


class McDevice(_Device):
    series: Series = "Q"
    code: CodeSetting = "binary"
    """What the port is set to; other frames meet silence."""
    zr_digits: Literal["hexadecimal", "decimal"] = "hexadecimal"
    """Of file register numbers in ASCII frames: manuals and clients do not agree."""
    frame: FrameSetting = "any"
    cpu_model: Annotated[str, Field(pattern=r"^[ -~]{1,16}$")] | None = None
    """Without it that of a common CPU of the series, as for its code."""
    cpu_code: Annotated[int, Field(ge=0, le=0xFFFF)] | None = None
    signals: Annotated[tuple[McSignal, ...], Field(min_length=1, strict=False)]

    @model_validator(mode="after")
    def _signals_are_distinct(self) -> Self:
        for number, signal in enumerate(self.signals):
            try:
                signal.belong_to(self.series)
            except AddressError as exc:
                raise _bad_address(number, signal, exc) from None
        reject_duplicate_names(self.signals)
        devices = PROFILES[self.series].devices
        for signal in self.signals:
            if devices[signal.place.area].words > 1 and signal.type not in ("int32", "uint32"):
                params = {"address": signal.address, "type": signal.type}
                raise PydanticCustomError("double_word", "double word", params)
        reject_overlaps(self.signals, lambda area: devices[area].size)
        return self


class _Simulator(Strict):
    """What all simulator files have."""

    host: Host = "127.0.0.1"
    seed: Annotated[int, Field(ge=0, lt=1 << 63)] = 0
    control_port: Port | None = None
    """Where faults are switched, on 127.0.0.1 only; 0: any free port; ``None``: nowhere."""
    scenario: Annotated[tuple[ScenarioStep, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _devices_and_scenario_fit(self) -> Self:
        devices = devices_of(self)
        reject_twins(devices)
        for number, step in enumerate(self.scenario):
            problem = problem_with_order(step, getattr(self, "protocol", ""), devices)
            if problem is not None:
                where = {"where": f"scenario[{number}].{problem.key}"}
                raise PydanticCustomError(problem.code, "scenario", where | problem.params)
        return self


class ModbusSimulator(_Simulator):
    protocol: Literal["modbus_tcp"]
    devices: Annotated[tuple[ModbusDevice, ...], Field(min_length=1, strict=False)]


class OpcUaSimulator(_Simulator):
    protocol: Literal["opcua"]
    devices: Annotated[tuple[OpcUaDevice, ...], Field(min_length=1, strict=False)]


class McSimulator(_Simulator):
    protocol: Literal["mitsubishi_mc"]
    devices: Annotated[tuple[McDevice, ...], Field(min_length=1, strict=False)]


AnySimulator = ModbusSimulator | OpcUaSimulator | McSimulator
AnyDevice = ModbusDevice | OpcUaDevice | McDevice
ADAPTER: TypeAdapter[AnySimulator] = TypeAdapter(
    Annotated[AnySimulator, Field(discriminator="protocol")]
)


def devices_of(config: _Simulator) -> list[AnyDevice]:
    """Return every device of the file, each copy by itself."""
    devices: Sequence[AnyDevice] = getattr(config, "devices", ())
    return [copy for device in devices for copy in device.each()]


class OrderProblem(NamedTuple):
    """What is wrong with an order: a key of it, and a sentence with its parameters."""

    key: str
    code: str
    params: dict[str, Any]


def problem_with_order(
    order: FaultOrder, protocol: str, devices: Sequence[AnyDevice]
) -> OrderProblem | None:
    """Say why ``order`` cannot be carried out; None if it can."""
    if order.fault not in SUPPORTED[protocol]:
        known = ", ".join(sorted(SUPPORTED[protocol]))
        params = {"fault": order.fault, "protocol": protocol, "known": known}
        return OrderProblem("fault", "fault_protocol", params)
    highest = _HIGHEST_CODE[protocol]
    if order.code is not None and order.code > highest:
        code = {"code": order.code, "protocol": protocol, "le": highest}
        return OrderProblem("code", "fault_code", code)
    aimed = [device for device in devices if order.device in ("*", device.id)]
    if not aimed:
        known = ", ".join(device.id for device in devices[:10])
        device = {"device": order.device, "known": known}
        return OrderProblem("device", "no_such_device", device)
    if order.unit is not None and not any(
        isinstance(device, ModbusDevice) and order.unit in {u.unit_id for u in device.units}
        for device in aimed
    ):
        unit = {"device": order.device, "unit": order.unit}
        return OrderProblem("unit", "no_such_unit", unit)
    return None


def _bad_address(
    number: int, signal: OpcUaSignal | McSignal, error: AddressError
) -> PydanticCustomError:
    where = {"where": f"signals[{number}].address", "value": signal.address}
    return PydanticCustomError(f"address_{error.reason}", "address", where | error.params)


def reject_twins(devices: Sequence[AnyDevice]) -> None:
    """Refuse two devices with one id or one port.

    Raises:
        PydanticCustomError: names both.
    """
    ids: set[str] = set()
    ports: dict[int, str] = {}
    for device in devices:
        if device.id in ids:
            raise PydanticCustomError("duplicate_device", "id", {"id": device.id})
        ids.add(device.id)
        other = ports.setdefault(device.port, device.id)
        if device.port and other != device.id:
            params = {"a": other, "b": device.id, "port": device.port}
            raise PydanticCustomError("duplicate_port", "port", params)
