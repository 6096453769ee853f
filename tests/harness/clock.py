"""A clock for tests."""

from collections.abc import Callable
from dataclasses import dataclass, field

from thoughtgate_proxy.approvals.clock import Timer


@dataclass(eq=False)
class _Alarm:
    at: float
    call: Callable[[], None]
    clock: "ManualClock"

    def cancel(self) -> None:
        self.clock.alarms.discard(self)


@dataclass
class ManualClock:
    """Stands still until it is moved."""

    time: float = 1_000_000.0
    alarms: set[_Alarm] = field(default_factory=set)

    def now(self) -> float:
        return self.time

    def call_later(self, seconds: float, call: Callable[[], None]) -> Timer:
        alarm = _Alarm(self.time + seconds, call, self)
        self.alarms.add(alarm)
        return alarm

    @property
    def next_at(self) -> float | None:
        """When the next alarm rings."""
        return min((alarm.at for alarm in self.alarms), default=None)

    def move(self, seconds: float) -> None:
        """Let so much time pass, and ring what is due."""
        self.time += seconds
        for alarm in sorted(self.alarms, key=lambda a: a.at):
            if alarm.at <= self.time:
                self.alarms.discard(alarm)
                alarm.call()
