"""What the end codes of a PLC mean for the points of a request. Pure.

Sources: MELSEC Communication Protocol Reference Manual (SH-080008), "Error codes"; QCPU User's
Manual, Hardware Design, 40xxh; MELSEC iQ-F FX5 User's Manual, SLMP (JY997D56001).
"""

from typing import Final

from collectors.contract.points import Quality

COMMAND_UNKNOWN: Final = 0xC059
"""The CPU does not know this command or subcommand."""

_ADDRESS: Final = frozenset(
    {
        0x4030,  # the CPU has no such device
        0x4031,  # outside the configured range
        0x4032,  # a device that this command cannot read
        0xC056,  # past the last device
        0xC05A,  # a device that cannot be accessed
        0xC05B,  # the same
        0xC05C,  # an FX5 says this of devices that it does not have
    }
)
_SMALLER_MAY_WORK: Final = frozenset(
    {
        *range(0xC050, 0xC059),
        0x4005,  # too much data
        0x4080,  # some Q and L CPUs, of a random read with too many points
    }
)


def quality_of(code: int) -> Quality:
    """Return ``BAD_CONFIG`` where the address is wrong, ``BAD_DEVICE`` for all other codes."""
    return Quality.BAD_CONFIG if code in _ADDRESS else Quality.BAD_DEVICE


def may_split(code: int) -> bool:
    """Tell whether a part of the request may succeed."""
    return code in _ADDRESS or code in _SMALLER_MAY_WORK
