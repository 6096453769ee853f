"""Slack's rate limits: so many calls of a method in any minute, for each app."""

from collections import deque
from collections.abc import Callable, Mapping

Limits = Mapping[str, tuple[int, float]]

TIER_2, TIER_3, TIER_4 = (20, 60.0), (50, 60.0), (100, 60.0)
# What the methods' own pages say.
REAL: Limits = {
    "auth.test": (300, 60.0),
    "chat.postMessage": (60, 60.0),
    "chat.update": TIER_3,
    "conversations.history": TIER_3,
    "conversations.info": TIER_3,
    "conversations.replies": TIER_3,
    "files.completeUploadExternal": TIER_4,
    "files.getUploadURLExternal": TIER_4,
    "reactions.get": TIER_3,
    "usergroups.users.list": TIER_2,
    "users.conversations": TIER_3,
    "users.info": TIER_4,
    "users.lookupByEmail": TIER_3,
}


class Meter:
    """Counts calls, by method and app."""

    def __init__(self, limits: Limits, now: Callable[[], float]) -> None:
        self.limits, self._now = limits, now
        self._calls: dict[tuple[str, str], deque[float]] = {}

    def wait(self, method: str, app: str) -> int:
        """Whole seconds until the next call may come; 0 if this one may, which is then counted."""
        if method not in self.limits:
            return 0
        most, seconds = self.limits[method]
        calls = self._calls.setdefault((method, app), deque())
        now = self._now()
        while calls and now - calls[0] >= seconds:
            calls.popleft()
        if len(calls) >= most:
            return max(1, int(calls[0] + seconds - now + 0.999))
        calls.append(now)
        return 0
