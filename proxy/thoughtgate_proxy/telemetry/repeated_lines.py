"""Log lines that a peer can cause as often as it likes: equal ones are counted and summed up."""

import asyncio
from collections.abc import Hashable
from typing import Any

from thoughtgate_proxy.telemetry.log import Level, Log

# At most so many different ones a second; who makes up new ones gets one line for all others.
_MOST = 64
_SECONDS = 1.0
# In a line of 2 KiB there is room for so many characters, each written as `\u0000`; and for
# so many of ASCII that are printed, each with a backslash before it at worst.
_LONGEST, _LONGEST_PLAIN = 200, 600


class RepeatedLines:
    """The first of equal lines is written at once, those that follow as a number each second."""

    def __init__(self, log: Log, message: str) -> None:
        self._log, self._message = log, message
        self._counts: dict[Hashable, tuple[int, dict[str, Any]]] = {}
        self._others = 0
        self._timer: asyncio.TimerHandle | None = None

    def add(self, key: Hashable, **facts: Any) -> None:
        """Write a line with these facts, unless one with the same key was written lately."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_SECONDS, self._sum_up)
        known = self._counts.get(key)
        if known is not None:
            self._counts[key] = known[0] + 1, facts
        elif len(self._counts) >= _MOST:
            self._others += 1
        else:
            self._counts[key] = 0, facts
            self._write(facts)

    def sum_up(self) -> None:
        """Write what was counted; for the end of the process."""
        if self._timer is not None:
            self._timer.cancel()
            self._sum_up()

    def _sum_up(self) -> None:
        self._timer = None
        counts, self._counts = self._counts, {}
        for key, (count, facts) in counts.items():
            if count:
                # One that goes on is not written at once the next time.
                self._counts[key] = 0, facts
                self._write({**facts, "times": count})
        others, self._others = self._others, 0
        if others:
            self._write({"reason": "others, each for another reason", "times": others})
        if self._counts:
            self._timer = asyncio.get_running_loop().call_later(_SECONDS, self._sum_up)

    def _write(self, facts: dict[str, Any]) -> None:
        short = {
            key: _cut(value) if isinstance(value, str) else value for key, value in facts.items()
        }
        self._log.always(self._message, Level.WARNING, **short)


def _cut(text: str) -> str:
    if len(text) <= _LONGEST or (len(text) <= _LONGEST_PLAIN and _plain(text)):
        return text
    return text[:_LONGEST]


def _plain(text: str) -> bool:
    return text.isascii() and text.isprintable()
