"""One gate for each of Slack's methods, which all calls of that method go through.

Slack counts a method's calls by app and workspace: when it wants a pause, it wants it of all of
them (Web API, "Rate limits"). Other pods with the same app share that count; for them there is only
the pause itself, which each of them meets.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from thoughtgate_proxy.approvals.channels.slack.errors import RateLimited

T = TypeVar("T")
# About one message a second and channel may be posted.
SPACING: Final = {"chat.postMessage": 1.0}


class RateLimits:
    """Which methods may be called now. `random` gives numbers from 0 to 1."""

    def __init__(self, random: Callable[[], float], limited: Callable[[RateLimited], None]) -> None:
        """`limited` is told of each pause that Slack asks for."""
        self._random, self._limited = random, limited
        self._opens: dict[str, float] = {}
        self.pauses = 0
        """How often Slack has asked for one."""

    async def through(
        self, method: str, call: Callable[[], Awaitable[T]], until: float | None = None
    ) -> T:
        """What `call` gives, made when the method's gate opens, as often as it is limited.

        `until`, in the event loop's time, is when it is no longer worth waiting. Raises
        `RateLimited` then, and what `call` raises.
        """
        loop = asyncio.get_running_loop()
        while True:
            while (wait := self._opens.get(method, 0.0) - loop.time()) > 0:
                if until is not None and loop.time() + wait > until:
                    raise RateLimited(method, wait)
                await asyncio.sleep(wait)
            # No await since the last look, so no other call can have passed.
            self._opens[method] = loop.time() + SPACING.get(method, 0.0)
            try:
                return await call()
            except RateLimited as limited:
                self.pauses += 1
                self._limited(limited)
                # Not all at the same moment: each pod with this app was told the same second.
                pause = limited.seconds * (1 + 0.2 * self._random())
                self._opens[method] = max(self._opens[method], loop.time() + pause)
