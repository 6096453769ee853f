"""A reply on its way: what httptools' parser finds, and the reader who takes it in pieces."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import httptools

from thoughtgate_proxy.core.http import Headers, ReplyCut
from thoughtgate_proxy.upstream.errors import UpstreamError

# Bytes of a body that wait for a slow reader before the server is made to wait as well.
HIGH_WATER = 64 * 1024
MAX_HEADERS = 64 * 1024


@dataclass(slots=True)
class UpstreamReply:
    """A reply: names of headers in lower case; `body` is bytes where it came in one piece."""

    status: int
    headers: Headers
    body: "bytes | ReplyBody"

    def header(self, name: str) -> str | None:
        """The first header of that name (lower case)."""
        return next((value for key, value in self.headers if key == name), None)

    def close(self) -> None:
        """Give up what was not read of the body."""
        if isinstance(self.body, ReplyBody):
            self.body.close()


class ReplyBody:
    """A body as it arrives, to be iterated once; raises `ReplyCut` where it ends too early."""

    def __init__(self, exchange: "Exchange") -> None:
        self._exchange = exchange

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._exchange.next_piece()
        if piece is None:
            raise StopAsyncIteration
        return piece

    def close(self) -> None:
        """Give the rest up; the connection too, unless the body is whole. Twice does no harm."""
        self._exchange.leave()


class Exchange:
    """The state of one request's reply, fed by a connection."""

    def __init__(self, flow: Callable[[bool], None], abandon: Callable[[], None]) -> None:
        """`flow(False)` makes the server wait, `flow(True)` lets it go on; `abandon` closes."""
        self._loop = asyncio.get_running_loop()
        self.head: asyncio.Future[UpstreamReply] = self._loop.create_future()
        self.done = False
        self.headers: Headers = []
        self._flow, self._abandon = flow, abandon
        self._parser = httptools.HttpResponseParser(self)
        self._header_bytes = 0
        self._status: int | None = None
        self._until_close = True
        self._surplus = False
        self._keep_alive = False
        self._pieces: deque[bytes] = deque()
        self._buffered = 0
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._error: Exception | None = None

    # The connection's side

    def feed(self, data: bytes) -> None:
        """Take bytes from the server. Raises `UpstreamError` if they are no HTTP reply."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as error:
            raise UpstreamError("the server wants to change the protocol", sent=True) from error
        except httptools.HttpParserError as error:
            if not self.done:
                said = error.__context__ if isinstance(error.__context__, _TooMuch) else error
                raise UpstreamError(f"the reply is not HTTP: {said}", sent=True) from error
            self._surplus = True  # after a whole reply: nothing of it reaches anybody
        self._deliver()

    def end(self, cause: Exception | None) -> None:
        """The connection has ended; for a reply without a length that is its end as well."""
        if self.done or self._error is not None:
            return
        if self._status is not None and self._until_close and cause is None:
            self.done = True
            self._deliver()
        else:
            said = f": {cause}" if cause else ""
            self.fail(UpstreamError(f"the connection ended before the reply did{said}", sent=True))

    def fail(self, error: Exception) -> None:
        """The reply will not be whole."""
        self._error = error
        if not self.head.done():
            self.head.set_exception(error)
        self._wake()

    def keeps_alive(self) -> bool:
        """Whether a whole reply leaves the connection fit for another request."""
        return self._keep_alive and not (self._until_close or self._surplus or self._paused)

    # The reader's side

    async def next_piece(self) -> bytes | None:
        """The next bytes of the body, None at its end. Raises `ReplyCut`."""
        while not self._pieces:
            if self.done:
                return None
            if self._error is not None:
                raise ReplyCut(str(self._error)) from self._error
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        piece = self._pieces.popleft()
        self._buffered -= len(piece)
        if self._paused and self._buffered <= HIGH_WATER // 2:
            self._paused = False
            if not self.done:
                self._flow(True)
        return piece

    def leave(self) -> None:
        """The reader wants no more."""
        if not self.done:
            self._abandon()

    def _deliver(self) -> None:
        if self._status is not None and not self.head.done():
            body = b"".join(self._pieces) if self.done else ReplyBody(self)
            self.head.set_result(UpstreamReply(self._status, self.headers, body))
        if self._pieces or self.done:
            self._wake()
        if self._buffered > HIGH_WATER and not self._paused and not self.done:
            self._paused = True
            self._flow(False)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # httptools' side. After the head of the reply come its trailers, which must not pass for
    # headers, and after its end whatever a server wrote that was not asked for.

    def on_message_begin(self) -> None:
        self._surplus = self._surplus or self.done

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._status is not None:
            return
        self._header_bytes += len(name) + len(value) + 4
        if self._header_bytes > MAX_HEADERS:
            raise _TooMuch(f"its headers are longer than {MAX_HEADERS} bytes")
        key = name.decode("latin-1").lower()
        if key in ("content-length", "transfer-encoding"):
            self._until_close = False
        self.headers.append((key, value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        if self._status is not None:
            return
        status = self._parser.get_status_code()
        if status >= 200:
            self._status = status
        if status in (204, 304):
            self._until_close = False

    def on_body(self, body: bytes) -> None:
        if self.done:
            return
        self._pieces.append(body)
        self._buffered += len(body)

    def on_message_complete(self) -> None:
        if self.done:
            return
        if self._status is not None:
            self.done = True
            # The parser knows now, and has forgotten once it is ready for another message.
            self._keep_alive = self._parser.should_keep_alive()
        else:
            self.headers, self._header_bytes, self._until_close = [], 0, True


class _TooMuch(Exception):
    """The head of the reply is over its limit."""
