"""Write one point and read it back; called in the thread of the connection."""

from typing import Final

from collectors.contract.addresses_mc import McAddress
from collectors.mitsubishi_mc.codec import BITS_PER_WORD
from collectors.mitsubishi_mc.frames import Device
from collectors.mitsubishi_mc.guard import GuardedType3E

_ONE_WORD: Final = 1


def write_point(plc: GuardedType3E, address: McAddress, content: bytes) -> None:
    """Write what :func:`collectors.mitsubishi_mc.codec.encode` made; raises as the guard."""
    device = Device(address.device, address.number)
    if address.kind.unit == "bit":
        plc.write_bit(device, content != b"\0")
    elif address.kind.unit == "dword":
        plc.write_dword(device, content)
    else:
        plc.write_words(device, content)


def read_point(plc: GuardedType3E, address: McAddress, words: int) -> bytes:
    """Return the words of a point as a batch read would; raises as the guard."""
    if address.kind.unit == "dword":
        return plc.read_random([], [Device(address.device, address.number)])
    if address.kind.unit == "bit":
        first = address.number - address.number % BITS_PER_WORD
        return plc.read_words(Device(address.device, first), _ONE_WORD)
    return plc.read_words(Device(address.device, address.number), words)
