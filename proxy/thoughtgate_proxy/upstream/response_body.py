"""A reply of an upstream's, and the reader who takes a long one in pieces."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Protocol

import msgspec

from thoughtgate_proxy.core.memory_budget import Budget, NoRoom, Share, TooBig
from thoughtgate_proxy.core.protocol.http import ReplyCut
from thoughtgate_proxy.upstream.errors import UpstreamError
from thoughtgate_proxy.upstream.response_head import ResponseHead

# Bytes of a body that wait for a slow reader before the server is made to wait as well.
HIGH_WATER = 64 * 1024


class UpstreamReply(msgspec.Struct, frozen=True):
    """A reply; `body` is bytes where it came whole with its head."""

    head: ResponseHead
    body: "bytes | ReplyBody"

    def close(self) -> None:
        """Give up what was not read of the body."""
        if isinstance(self.body, ReplyBody):
            self.body.close()


class ReplyReceiver(Protocol):
    """Whoever waits for a reply is told of it once, or that there is none."""

    def replied(self, reply: UpstreamReply) -> None:
        """The head has come, with the whole body or its beginning."""

    def failed(self, error: UpstreamError) -> None:
        """There is no reply."""


class ReplyBody:
    """A body as it arrives, to be iterated once; raises `ReplyCut` where it ends too early."""

    def __init__(
        self, flow: Callable[[bool], None], abandon: Callable[[], None], budget: Budget
    ) -> None:
        """`flow(False)` makes the server wait, `flow(True)` lets it go on; `abandon` closes.

        What waits for the reader is charged to `budget`.
        """
        self._flow, self._abandon = flow, abandon
        self._share = Share(budget)
        self._pieces: deque[bytes] = deque()
        self._buffered = 0
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None
        self._whole = False
        self.paused = False
        """Whether the server is made to wait."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if not self._pieces and not await self._ready():
            raise StopAsyncIteration
        piece = self._pieces.popleft()
        self._buffered -= len(piece)
        self._share.keep(self._buffered + len(piece))
        if self.paused and self._buffered <= HIGH_WATER // 2:
            self.paused = False
            if not self._whole:
                self._flow(True)
        return piece

    async def peek(self) -> bytes:
        """The next piece, which stays; empty at the end. Raises `ReplyCut`."""
        return self._pieces[0] if await self._ready() else b""

    def close(self) -> None:
        """Give the rest up; the connection too, unless the body is whole. Twice does no harm."""
        self._share.release()
        self._pieces.clear()
        if not self._whole:
            self._abandon()

    # The connection's side

    def feed(self, pieces: Sequence[bytes], *, whole: bool) -> None:
        """The next bytes of the body, with which it may be whole."""
        if self._error is not None:
            return
        count = sum(map(len, pieces))
        try:
            self._share.add(count)
        except (NoRoom, TooBig):
            self.fail(RuntimeError("others fill the memory"))
            self._abandon()
            return
        self._pieces.extend(pieces)
        self._buffered += count
        self._whole = whole
        if self._buffered > HIGH_WATER and not self.paused and not whole:
            self.paused = True
            self._flow(False)
        if pieces or whole:
            self._wake()

    def fail(self, error: Exception) -> None:
        """The body will not be whole."""
        self._error = error
        self._wake()

    async def _ready(self) -> bool:
        """Wait for a piece; False if the body has ended. Raises `ReplyCut`."""
        while not self._pieces:
            self._share.release()
            if self._whole:
                return False
            if self._error is not None:
                raise ReplyCut(str(self._error)) from self._error
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return True

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
