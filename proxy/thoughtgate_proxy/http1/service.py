"""What all connections of one listener share."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from thoughtgate_proxy.core.bounded_cache import BoundedCache
from thoughtgate_proxy.core.config.values import Limits
from thoughtgate_proxy.core.protocol.http import HttpReply, HttpRequest
from thoughtgate_proxy.http1.attention import Attention
from thoughtgate_proxy.http1.head import Blocks
from thoughtgate_proxy.http1.memory import Budget
from thoughtgate_proxy.http1.requests import Known
from thoughtgate_proxy.http1.response_head import HeadWriter

# How long a connection may stay without a whole request head.
IDLE_SECONDS = 75.0
# How long a client may take to send its request's body.
BODY_SECONDS = 30.0

Handle = Callable[[HttpRequest], HttpReply | Awaitable[HttpReply]]
"""Answers a request; what it gives to await is cancelled when the client has gone."""


class Watch(Protocol):
    """Is told of each request under way, of what never became one, and of what went wrong."""

    def begun(self) -> None: ...

    def ended(self, seconds: float) -> None: ...

    def refused(self, status: int, reason: str, limit: str | None = None) -> None:
        """`limit` is the configuration's key of the limit that the request is over, if any."""

    def broken(self, error: BaseException) -> None: ...

    def cut(self, reason: str) -> None:
        """A reply ended too early, and the client's connection with it."""


class Uncounted:
    """Passes complaints on to a watch, and none of its requests."""

    def __init__(self, watch: Watch) -> None:
        self.refused, self.broken, self.cut = watch.refused, watch.broken, watch.cut

    def begun(self) -> None:
        """Nobody counts it."""

    def ended(self, seconds: float) -> None:
        """Nobody counts it."""


class Service:
    """A handler, its limits, and what is under way."""

    def __init__(
        self,
        handle: Handle,
        limits: Callable[[], Limits],
        watch: Watch,
        budget: Budget,
        body_seconds: float = BODY_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        """`limits` gives those of the configuration in force; all bodies share `budget`."""
        self.handle, self.limits, self.watch, self.budget = handle, limits, watch, budget
        self.body_seconds, self.idle_seconds = body_seconds, idle_seconds
        self.blocks, self.heads = Blocks(), HeadWriter()
        self.known = BoundedCache[bytes, Known](most=256, longest=4096)
        self.active = 0
        """Requests under way."""
        self.to_replies, self.to_requests = Attention(), Attention()
        self.closing = False
        """Whether each reply is the last of its connection."""
