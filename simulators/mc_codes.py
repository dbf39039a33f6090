"""The end codes of MC protocol."""

import enum


class EndCode(enum.IntEnum):
    """Why a request was refused (SH-080008, "Error codes"; 4031: QCPU User's Manual)."""

    RANGE = 0x4031
    ASCII = 0xC050
    BIT_POINTS = 0xC051
    WORD_POINTS = 0xC052
    RANDOM_BIT_POINTS = 0xC053
    RANDOM_POINTS = 0xC054
    MAX_ADDRESS = 0xC056
    COMMAND = 0xC059
    DEVICE = 0xC05B
    BIT_OR_WORD_UNIT = 0xC05C
    LENGTH = 0xC061


class Refused(Exception):
    """The request is answered with an end code and 9 bytes of error information."""

    def __init__(self, code: EndCode) -> None:
        super().__init__(code.name)
        self.code = code


def require(valid: bool, code: EndCode) -> None:
    """Raise ``Refused(code)`` unless ``valid``."""
    if not valid:
        raise Refused(code)
