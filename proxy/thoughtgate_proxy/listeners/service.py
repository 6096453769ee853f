"""What all connections of one listener share."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from thoughtgate_proxy.core.config.values import Limits
from thoughtgate_proxy.core.memory_budget import Budget
from thoughtgate_proxy.core.protocol.http import HttpReply, HttpRequest
from thoughtgate_proxy.listeners.attention import Attention
from thoughtgate_proxy.listeners.request_head import Blocks
from thoughtgate_proxy.listeners.response_head import HeadWriter

READ_BYTES = 1 << 14
"""How much is read, and given to aiohttp, at once: uvloop's own buffer is 16 times as large."""

Handle = Callable[[HttpRequest], HttpReply | Awaitable[HttpReply]]
"""Answers a request; what it gives to await is cancelled when the client has gone."""


@dataclass(frozen=True, slots=True)
class ClientTimeouts:
    """How long a client may take, in seconds."""

    idle: float = 75.0
    """Between two requests."""
    head: float = 10.0
    """From the first byte of a head to its last."""
    body: float = 30.0
    """From the end of the head to the last byte of the body: one limit for the whole."""
    linger: float = 5.0
    """For what is still sent after the last reply: a connection that is closed with unread bytes
    is reset, and what the client was told may be lost with it."""


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
        timeouts: ClientTimeouts = ClientTimeouts(),
    ) -> None:
        """`limits` gives those of the configuration in force; all peers share `budget`."""
        self.handle, self.limits, self.watch, self.budget = handle, limits, watch, budget
        self.timeouts = timeouts
        self.buffer = memoryview(bytearray(READ_BYTES))
        """What is read goes here first: whatever is kept of it is a copy, and no larger."""
        self.blocks, self.heads = Blocks(), HeadWriter()
        self.active = 0
        """Requests under way."""
        self.to_replies, self.to_requests = Attention(), Attention()
        self.closing = False
        """Whether each reply is the last of its connection."""
