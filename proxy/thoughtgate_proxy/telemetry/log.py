"""One JSON object a line on standard output, without ever waiting for whoever reads it."""

import asyncio
import os
import select
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import orjson

# Linux lets this much through a pipe whole or not at all; a pipe that polls writable has room.
_PIPE_BUF = 4096
# Lines that come within so long are written at once: a write for each line, and waking its reader,
# took a third of a call's time. Whoever kills the process without notice may take so much with it.
_GATHER_SECONDS = 0.002
_RETRY_SECONDS = 0.02
# A slow reader may have this long to take the last lines.
_LAST_SECONDS = 1.0


class Level(Enum):
    """What is worth a line, from everything to little."""

    DEBUG = 10
    INFO = 20
    WARNING = 30
    ERROR = 40


class Log:
    """Lines wait in memory, at most `limit` bytes of them, while standard output is stuck."""

    def __init__(
        self,
        now: Callable[[], float],
        *,
        level: Level = Level.INFO,
        fd: int = 1,
        limit: int = 1 << 20,
    ) -> None:
        """`now` gives the time in seconds since the epoch."""
        self._now, self._level, self._fd, self._limit = now, level, fd, limit
        self._waiting = bytearray()
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._scheduled = False
        self._thousandth, self._written = -1, b""

    @property
    def stuck(self) -> bool:
        """Whether a further line might not fit: a gated call must not go unlogged."""
        return len(self._waiting) >= self._limit

    def event(self, message: str, level: Level = Level.INFO, **facts: Any) -> None:
        """Write one line, `facts` being JSON values. Dropped only if too much waits already."""
        if level.value < self._level.value:
            return
        self.always(message, level, **facts)

    def always(self, message: str, level: Level = Level.INFO, **facts: Any) -> None:
        """Write one line whatever the level: a decision is not a matter of verbosity."""
        self.write(prepared(message, level, facts))

    def write(self, *parts: bytes) -> bool:
        """Write one line of `prepared` parts, as `always` does; False if it was dropped."""
        return self.write_all([b",".join(parts)])

    def write_all(self, lines: Sequence[bytes]) -> bool:
        """Write these lines, each the parts of one, joined; False if all of them were dropped.

        INVARIANT: all or none, so that what is done only once it is logged is logged whole.
        """
        time = self._time()
        text = b"".join([b'{"time":"%b",%b}\n' % (time, line) for line in lines])
        if len(self._waiting) + len(text) > 2 * self._limit:
            return False
        self._waiting += text
        if self._loop is None:
            try:
                self._loop = asyncio.get_running_loop()
            except RuntimeError:
                self._drain()
                return True
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_later(_GATHER_SECONDS, self._write)
        return True

    def flush(self, seconds: float = _LAST_SECONDS) -> None:
        """Write what waits, and give whoever reads it some time; for the end of the process."""
        end = time.monotonic() + seconds
        while self._waiting and (left := end - time.monotonic()) > 0:
            self._poll.poll(left * 1000)
            if not self._drain():
                return

    def _time(self) -> bytes:
        """ISO 8601 in UTC, to the millisecond, in which many lines may be written."""
        now = int(self._now() * 1000)
        if now != self._thousandth:
            self._thousandth = now
            written = datetime.fromtimestamp(now // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
            self._written = b"%b.%03dZ" % (written.encode(), now % 1000)
        return self._written

    def _write(self) -> None:
        self._scheduled = False
        self._drain()
        if self._waiting and self._loop is not None:
            self._scheduled = True
            self._loop.call_later(_RETRY_SECONDS, self._write)

    def _drain(self) -> bool:
        """Write what can be written at once; whether nothing was wrong with that."""
        while self._waiting and self._poll.poll(0):
            try:
                written = os.write(self._fd, self._waiting[:_PIPE_BUF])
            except OSError:
                return False  # the disk is full, or the reader is gone: stuck, and tried again
            del self._waiting[:written]
        return True


def prepared(message: str, level: Level, facts: Mapping[str, Any]) -> bytes:
    """The part of a line that these make, for `Log.write`; `facts` are JSON values."""
    return fields({"level": level.name.lower(), "message": message, **facts})


def fields(facts: Mapping[str, Any]) -> bytes:
    """Further facts of a line, for `Log.write`."""
    return orjson.dumps(facts, default=str)[1:-1]
