"""Writes that wait for their turn between two reads of a device."""

import asyncio
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime

from collectors.contract.points import Sample, Value
from collectors.runtime.driver import ConnectionLost, Driver, WriteFailed, WriteRefused


@dataclass(frozen=True, slots=True, kw_only=True)
class _Write:
    point_name: str
    value: Value
    expires_at: datetime
    result: "asyncio.Future[Sample]"

    def fail(self, exc: Exception) -> None:
        if not self.result.done():
            self.result.set_exception(exc)


class PendingWrites:
    """First come, first written; whoever asked waits for the value read back."""

    def __init__(self) -> None:
        self._writes: deque[_Write] = deque()

    def __bool__(self) -> bool:
        return bool(self._writes)

    def add(self, point_name: str, value: Value, expires_at: datetime) -> "asyncio.Future[Sample]":
        """Queue a write that is refused if its turn comes after ``expires_at``."""
        result: asyncio.Future[Sample] = asyncio.get_running_loop().create_future()
        self._writes.append(
            _Write(point_name=point_name, value=value, expires_at=expires_at, result=result)
        )
        return result

    async def carry_out_next(self, driver: Driver) -> None:
        """Do the oldest one.

        Raises:
            ConnectionLost: from the driver; whoever waits gets it as well.
        """
        write = self._writes.popleft()
        if write.expires_at <= datetime.now(UTC):
            write.fail(WriteRefused("expired"))
            return
        try:
            sample = await driver.write(write.point_name, write.value)
        except WriteFailed as exc:
            write.fail(exc)
        except BaseException as exc:
            write.fail(exc if isinstance(exc, ConnectionLost) else _CLOSED)
            raise
        else:
            if not write.result.done():
                write.result.set_result(sample)

    def fail_all(self, lost: ConnectionLost) -> None:
        """Tell everybody who waits that there is no connection any more."""
        while self._writes:
            self._writes.popleft().fail(lost)


_CLOSED = ConnectionLost("the connection was closed")
