"""What of Slack's troubles is logged and counted: each counts, and of a row of them one is told."""

from collections.abc import Callable
from typing import Any, Final

from thoughtgate_proxy.approvals.channels.slack.errors import SlackError
from thoughtgate_proxy.telemetry.log import Level, Log
from thoughtgate_proxy.telemetry.metrics import Metrics

_AGAIN_SECONDS: Final = 600.0


class Reporter:
    """For one process."""

    def __init__(self, log: Log, metrics: Metrics, now: Callable[[], float]) -> None:
        """`now` gives seconds that never go back."""
        self._log, self._metrics, self._now = log, metrics, now
        self._reported: dict[tuple[str, str], float] = {}

    def trouble(self, doing: str, trouble: SlackError) -> None:
        """Something failed while `doing` so."""
        self._metrics.errors.inc(trouble.kind, "")
        reported = self._reported.get((doing, trouble.kind))
        if reported is None or self._now() - reported > _AGAIN_SECONDS:
            self._reported[doing, trouble.kind] = self._now()
            self._log.event(
                "slack trouble", Level.WARNING, doing=doing, kind=trouble.kind, reason=str(trouble)
            )

    def limited(self, trouble: SlackError) -> None:
        """Slack asked for a pause."""
        self.trouble("calling Slack", trouble)

    def well(self, doing: str) -> None:
        """It succeeded again."""
        over = [key for key in self._reported if key[0] == doing]
        for key in over:
            del self._reported[key]
        if over:
            self._log.event("slack works again", doing=doing)

    def event(self, message: str, level: Level = Level.INFO, **facts: Any) -> None:
        """Log one line."""
        self._log.event(message, level, **facts)
