"""One HTTP/1.1 connection to an upstream.

Written by hand on httptools' parser because it stands in the path of every gated call: with a
general client two thirds of a request's time went into it.
"""

import asyncio
import select
from collections.abc import Callable
from typing import cast

import httptools

from thoughtgate_proxy.core.bounded_cache import HEADER_BYTES
from thoughtgate_proxy.core.memory_budget import Budget
from thoughtgate_proxy.upstream.errors import Restarting, UpstreamError, UpstreamTimedOut
from thoughtgate_proxy.upstream.response_body import ReplyBody, ReplyReceiver, UpstreamReply
from thoughtgate_proxy.upstream.response_head import ResponseHead, ResponseHeads

# A server that names no Keep-Alive timeout may close after 5 s (Node's default).
IDLE_SECONDS = 4.0
# Of a head; of trailers; of what chunks have beside the body until it grows again.
MAX_HEADERS = 16 * 1024
MAX_LINES = 128
# Each reads into it, and what is kept is a copy: uvloop's own buffer is 16 times as large.
_BUFFER = memoryview(bytearray(1 << 14))
# A timer may come early by as much as the loop's clock is coarse.
_TICK = 0.001
_END = b"\r\n\r\n"


class UpstreamConnection(asyncio.BufferedProtocol):
    """Carries one exchange at a time, each with the same parser."""

    def __init__(
        self,
        on_free: Callable[["UpstreamConnection"], None],
        heads: ResponseHeads,
        budget: Budget,
    ) -> None:
        """`on_free` is called each time that the connection can take another request."""
        self._loop = asyncio.get_running_loop()
        self._on_free, self._heads, self._budget = on_free, heads, budget
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._poll = select.poll()
        self._idle_until = 0.0
        # One timer for all exchanges: it looks at the deadline of the one that it meets.
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = self._seconds = 0.0
        self._busy = False
        self._receiver: ReplyReceiver | None = None  # until the head has come
        self._body: ReplyBody | None = None  # from then on, unless it came whole
        # Of the exchange under way, as far as its reply has been read.
        self._lines: list[tuple[bytes, bytes]] = []
        self._header_bytes = 0
        self._head: ResponseHead | None = None
        self._pieces: list[bytes] = []
        self._done = self._surplus = self._keep_alive = False
        self._fresh = self._grew = False
        self._quiet = 0  # bytes since the reply last grew

    def exchange(self, request: bytes, seconds: float, receiver: ReplyReceiver) -> None:
        """Send `request` whole; `receiver` is told of the reply, or of its lack after `seconds`."""
        if self._transport is None or self._transport.is_closing():
            receiver.failed(UpstreamError("the connection was closed", sent=False))
            return
        self._begin()
        self._busy, self._receiver, self._body = True, receiver, None
        self._seconds = seconds
        self._deadline = self._loop.time() + seconds
        if self._timer is None:
            self._timer = self._loop.call_at(self._deadline, self._time_out)
        self._transport.write(request)

    def usable(self) -> bool:
        """Whether the connection is surely alive: idle for a short while, with nothing to read.

        Something to read is the server's FIN, or bytes that nobody asked for.
        """
        return (
            self._transport is not None
            and not self._transport.is_closing()
            and not self.expired()
            and not self._poll.poll(0)
        )

    def expired(self) -> bool:
        """Whether it has been idle for too long to be used again."""
        return self._loop.time() >= self._idle_until

    def abort(self) -> None:
        """Close at once, and tell nobody."""
        self._busy, self._receiver, self._body = False, None, None
        if self._transport is not None:
            self._transport.abort()

    def stop(self) -> None:
        """Close at once, and tell whoever waits for a reply that this is our doing."""
        self._fail(Restarting())

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one, if not by name
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  asyncio's
        return _BUFFER

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(_BUFFER[:nbytes])
        if not self._busy:
            self.abort()  # bytes that nobody asked for
            return
        end = 0
        if self._fresh:
            # The parser need not read again the very bytes of a head that it knows: between two
            # messages it has no memory, so it would find the same.
            self._fresh = False
            end = data.find(_END) + len(_END)
            known = self._heads.whole.get(data[:end])
            if known is not None and known.length == len(data) - end:
                self._head, self._pieces = known, [data[end:]]
                self._done = self._keep_alive = True
                self._deliver()
                return
        if not self._parse(data):
            return
        if end and self._done and self._keep_alive and not self._surplus:
            self._remember(data, end)
        self._deliver()

    def _parse(self, data: bytes) -> bool:
        """Whether that could be read."""
        try:
            self._parser.feed_data(data)
            self._growing(len(data))
        except httptools.HttpParserUpgrade:
            self._fail(UpstreamError("the server wants to change the protocol", sent=True))
            return False
        except (httptools.HttpParserError, _TooMuch) as error:
            if not self._done:
                said = error.__context__ if isinstance(error.__context__, _TooMuch) else error
                self._fail(UpstreamError(f"the reply is not HTTP: {said}", sent=True))
                return False
            self._surplus = True  # after a whole reply: nothing of it reaches anybody
        return True

    def _growing(self, count: int) -> None:
        """So many bytes were read: see whether there is more of the reply. Raises `_TooMuch`."""
        if self._done or self._grew:
            self._grew, self._quiet = False, 0
            return
        self._quiet += count
        if self._quiet > MAX_HEADERS + len(_BUFFER):
            raise _TooMuch(f"a line of its head or its trailers is longer than {MAX_HEADERS} bytes")

    def _remember(self, data: bytes, end: int) -> None:
        """Keep the head of a reply that is all of `data`."""
        head = self._head
        if head is not None and head.length == len(data) - end:
            self._heads.whole.put(data[:end], head, end + HEADER_BYTES * len(head.headers))

    def eof_received(self) -> bool:
        self._end(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc)
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # httptools' side. After the head of the reply come its trailers, which must not pass for
    # headers, and after its end whatever a server wrote that was not asked for.

    def on_message_begin(self) -> None:
        self._surplus = self._surplus or self._done

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value) + 4
        if self._header_bytes > MAX_HEADERS:
            raise _TooMuch(f"its headers are longer than {MAX_HEADERS} bytes")
        if self._head is not None:
            return
        if len(self._lines) >= MAX_LINES:
            raise _TooMuch(f"it has more than {MAX_LINES} headers")
        self._lines.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._head is None and status >= 200:
            self._head = self._heads.of(status, self._lines)
            self._grew = True
            self._header_bytes = 0  # of the trailers, from here on

    def on_body(self, body: bytes) -> None:
        if not self._done:
            self._pieces.append(body)
            self._grew = True

    def on_message_complete(self) -> None:
        if self._done:
            return
        if self._head is not None:
            self._done = True
            # The parser knows now, and has forgotten once it is ready for another message.
            self._keep_alive = self._parser.should_keep_alive()
        else:  # an interim reply
            self._lines = []

    # The exchange

    def _begin(self) -> None:
        self._lines, self._header_bytes, self._head, self._pieces = [], 0, None, []
        self._fresh, self._grew, self._quiet = True, False, 0
        self._done = self._surplus = self._keep_alive = False

    def _deliver(self) -> None:
        """Pass on what has come of the reply since its head."""
        head = self._head
        if head is None:
            return
        pieces, self._pieces = self._pieces, []
        receiver, self._receiver = self._receiver, None
        if receiver is not None and self._done:
            self._free(head)
            receiver.replied(
                UpstreamReply(head, pieces[0] if len(pieces) == 1 else b"".join(pieces))
            )
            return
        body = self._body
        if body is None:
            body = self._body = ReplyBody(self._flow, self.abort, self._budget)
        body.feed(pieces, whole=self._done)
        if self._done:
            self._free(head, server_waits=body.paused)
        if receiver is not None:
            receiver.replied(UpstreamReply(head, body))

    def _free(self, head: ResponseHead, *, server_waits: bool = False) -> None:
        """The reply is whole: keep the connection if it is fit for another request."""
        self._busy, self._body = False, None
        idle = IDLE_SECONDS
        if head.idle_seconds is not None:
            idle = min(idle, head.idle_seconds - 1.0)
        # A reply before the whole request was written leaves the server in doubt of the rest.
        written = self._transport is not None and not self._transport.get_write_buffer_size()
        fit = self._keep_alive and not (head.until_close or self._surplus or server_waits)
        if fit and written and idle > 0:
            self._idle_until = self._loop.time() + idle
            self._on_free(self)
        else:
            self.abort()

    def _end(self, cause: Exception | None) -> None:
        """The connection has ended; for a reply without a length that is its end as well."""
        if not self._busy:
            return
        if self._head is not None and self._head.until_close and cause is None:
            self._done = True
            self._deliver()
            return
        said = f": {cause}" if cause else ""
        self._fail(UpstreamError(f"the connection ended before the reply did{said}", sent=True))

    def _fail(self, error: UpstreamError) -> None:
        """Close at once, and say that the reply will not come, or not be whole."""
        receiver, body = self._receiver, self._body
        self.abort()
        if receiver is not None:
            receiver.failed(error)
        elif body is not None:
            body.fail(error)

    def _time_out(self) -> None:
        self._timer = None
        if self._receiver is None:
            return
        if self._deadline - self._loop.time() > _TICK:  # an earlier exchange's timer
            self._timer = self._loop.call_at(self._deadline, self._time_out)
            return
        self._fail(UpstreamTimedOut(f"no reply within {self._seconds:g} s", sent=True))

    def _flow(self, on: bool) -> None:
        if self._transport is not None and not self._transport.is_closing():
            if on:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()


class _TooMuch(Exception):
    """The head of the reply is over its limit."""
