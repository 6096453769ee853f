"""What the listeners report: requests under way are counted, and what went wrong is logged."""

import itertools
import os
import time

from thoughtgate_proxy.telemetry.metrics import Metrics
from thoughtgate_proxy.telemetry.record import Record

# Correlation ids need to be unique, not secret.
_PROCESS, _NUMBERS = os.urandom(4).hex(), itertools.count(1)


def new_correlation_id() -> str:
    """An id that no other request of any process has: 16 hexadecimal digits."""
    return f"{_PROCESS}{next(_NUMBERS):08x}"


class RequestMetrics:
    """The watch that the agent's listener reports to."""

    def __init__(self, metrics: Metrics, record: Record) -> None:
        self._metrics, self._record = metrics, record
        self._last_ended = time.monotonic()

    @property
    def active(self) -> int:
        """How many requests are under way."""
        return self._metrics.connections

    @property
    def quiet_seconds(self) -> float:
        """For how long no request has ended."""
        return time.monotonic() - self._last_ended

    def begun(self) -> None:
        """A request began."""
        self._metrics.connections += 1

    def ended(self, seconds: float) -> None:
        """A request ended, its reply included."""
        self._last_ended = time.monotonic()
        self._metrics.connections -= 1
        self._metrics.request_seconds.observe(seconds)

    def refused(self, status: int, reason: str, limit: str | None = None) -> None:
        """A listener refused a request before it was one."""
        self._record.refused(new_correlation_id(), status, reason, limit=limit)

    def broken(self, error: BaseException) -> None:
        """A listener failed at a request."""
        self._record.broken(new_correlation_id(), error)

    def cut(self, reason: str) -> None:
        """A reply ended too early."""
        self._record.upstream_failed("", "", reason, "upstream_cut")
