"""How often a rule lets calls through."""

from collections import deque

from thoughtgate_proxy.core.config.values import RateLimit


class RateLimiter:
    """The calls that each limited rule let through lately."""

    def __init__(self) -> None:
        self._calls: dict[int, deque[float]] = {}

    def take(self, rule: int, limit: RateLimit, now: float) -> float:
        """Count a call at `now` (monotonic, seconds): 0 if it may go, else the seconds to wait."""
        calls = self._calls.setdefault(rule, deque(maxlen=limit.count))
        if len(calls) < limit.count or now - calls[0] >= limit.seconds:
            calls.append(now)
            return 0.0
        return limit.seconds - (now - calls[0])
