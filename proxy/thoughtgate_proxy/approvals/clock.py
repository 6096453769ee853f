"""The time that approvals go by; tests have one of their own."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """A call to come."""

    def cancel(self) -> None:
        """Let it not come."""


class Clock(Protocol):
    """Unix time, as records outlive the process."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Call in so many seconds."""


class SystemClock:
    """The machine's."""

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Call in so many seconds."""
        return asyncio.get_running_loop().call_later(seconds, call)
