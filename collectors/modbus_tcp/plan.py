"""Which requests read the points of a Modbus device. Pure, and free of pymodbus."""

from collectors.contract.config_modbus import ModbusDevice
from collectors.modbus_tcp.codec import decoder, layout
from collectors.runtime.planner import Block, Field, merge

_BITS_PER_REGISTER = 16


def plan(device: ModbusDevice) -> dict[str, tuple[Block, ...]]:
    """Return the requests of each poll group that has points."""
    areas: dict[tuple[str, str], list[Field]] = {}
    for point in device.points:
        address = point.place
        field = Field(
            point=f"{device.id}/{point.name}",
            start=address.offset,
            count=1 if address.is_bit_table else point.words,
            decode=decoder(point),
            layout=layout(point),
        )
        areas.setdefault((point.group, address.table), []).append(field)
    requests: dict[str, list[Block]] = {}
    for (group, table), fields in areas.items():
        is_bits = table in ("coil", "discrete")
        blocks = merge(
            table,
            fields,
            # A gap costs bytes on the wire, and a register is as long as 16 bits.
            max_gap=device.max_gap * (_BITS_PER_REGISTER if is_bits else 1),
            max_count=device.max_bits if is_bits else device.max_registers,
        )
        requests.setdefault(group, []).extend(blocks)
    return {group: tuple(blocks) for group, blocks in requests.items()}


def describe(block: Block) -> str:
    """Return the request in words: ``holding 100-117 (18)``."""
    last = f"-{block.start + block.count - 1}" if block.count > 1 else ""
    return f"{block.area} {block.start}{last} ({block.count})"
