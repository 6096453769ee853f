"""What stands between a client's socket and aiohttp, and bounds what the client can cost.

aiohttp reads HTTP, strictly, and takes a request to its handler. It does not bound what a peer can
make it keep, nor how long a body may take; and it quotes what it cannot read.
"""

import asyncio
import contextlib
import math
import time
from collections import deque
from enum import Enum
from typing import Any, Protocol, cast

from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import BadHttpMethod, BadStatusLine, InvalidURLError, LineTooLong
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from thoughtgate_proxy.core.memory_budget import NoRoom, Share, TooBig, parsed_cost
from thoughtgate_proxy.core.protocol.http import HttpRefused
from thoughtgate_proxy.listeners.request_head import HEADERS_TOO_LARGE, MOST_HEADERS, Block
from thoughtgate_proxy.listeners.service import READ_BYTES, Service

CONNECTION_BYTES = 1 << 14
"""What a connection is charged for as long as it is open: measured, with aiohttp's objects."""
REQUEST_BYTES = 1 << 14
"""What a request is charged beside its bytes: our objects and the server's connection for it."""
_END = b"\r\n\r\n"
_TOO_MANY = "Too many headers received"  # aiohttp's words


class State(Enum):
    """What comes next from the client."""

    HEAD = "a head, or its rest"
    BODY = "the rest of a body"
    REPLY = "nothing: it waits for its reply"
    CLOSING = "nothing that anybody reads"


class Queue(Protocol):
    """aiohttp's `RequestHandler`, as far as it is needed here."""

    _messages: "deque[tuple[Any, StreamReader]]"

    def connection_made(self, transport: asyncio.BaseTransport) -> None: ...
    def connection_lost(self, exc: BaseException | None) -> None: ...
    def data_received(self, data: bytes) -> None: ...


class Pieces:
    """A body while it comes: blocks of one size, since one that grows leaves holes in the heap.

    With a `bytearray` for each, 40 slow bodies took 1.8 times their bytes.
    """

    __slots__ = ("_blocks", "_last", "_size")

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        self._last = bytearray()
        self._size = 0

    def add(self, piece: bytes) -> int:
        """Keep the next piece; gives how many bytes there are by now."""
        self._size += len(piece)
        self._last += piece
        if len(self._last) >= READ_BYTES:
            self._blocks.append(bytes(self._last))
            self._last = bytearray()
        return self._size

    def join(self) -> bytes:
        """The whole; nothing is kept."""
        blocks, self._blocks = self._blocks, []
        return b"".join([*blocks, bytes(self._last)])


class Metered(asyncio.BufferedProtocol, asyncio.Transport):
    """The client's protocol, and the transport of aiohttp's handler.

    One request at a time: bytes that come behind an unanswered one are dropped, and end the
    connection after its reply. So they cost nothing, and a client that leaves is always noticed.
    """

    def __init__(
        self, service: Service, handler: Queue, connections: "dict[Metered, None]"
    ) -> None:
        """It is one of `connections` for as long as it is open."""
        super().__init__()
        self._service, self._handler, self._connections = service, handler, connections
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self.share = Share(service.budget)
        self.state = State.HEAD
        self.deadline = math.inf
        """When the client is late with what comes next, by the loop's clock."""
        self._head_bytes = 0  # of a head that is not whole yet
        self._last_bytes = b""  # of it
        self._left: int | None = 0  # of the body; None while only its chunks tell
        self._grown = self._quiet = 0  # of a body in chunks: its bytes, and others since
        self._payload = EMPTY_PAYLOAD
        self._unread = 0  # bytes of the body that are charged until they are read
        self._paused = False  # aiohttp takes no more just now
        self._begun_at: float | None = None
        self.lasts = True
        """Whether the connection may be used again after the reply."""
        self.writable: asyncio.Future[None] | None = None
        """Is done once the client has taken some of what was written; None if it is quick."""
        self._unwritten = 0  # bytes that are charged while they wait for it

    # The socket's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one, if not by name
        self._connections[self] = None
        self.deadline = self._loop.time() + self._service.timeouts.idle
        self._handler.connection_made(self)
        self._make_room(self._service.limits().connections)
        if self.state is State.CLOSING:
            return
        try:
            self.share.add(CONNECTION_BYTES)
        except (NoRoom, TooBig):
            self.no_room("connection")

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  asyncio's
        return self._service.buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(self._service.buffer[:nbytes])
        if self.state is State.HEAD:
            self._service.to_requests.came()
            self._on_head(data)
        elif self.state is State.BODY:
            self._on_body(data)
        elif self.state is State.REPLY:
            self.lasts = False

    def eof_received(self) -> bool:
        self._give_up()  # half a connection is no client: nobody would take the answer
        return False

    def connection_lost(self, _: Exception | None) -> None:
        self._give_up()
        self._transport = None
        self._connections.pop(self, None)
        self.share.release()

    def pause_writing(self) -> None:
        self.writable = self._loop.create_future()
        transport = self._transport
        if transport is None:
            return
        size = transport.get_write_buffer_size()
        try:
            self.share.add(size)
            self._unwritten = size
        except (NoRoom, TooBig):
            self._service.watch.cut("the client reads too slowly, and others fill the memory")
            self.abort()

    def resume_writing(self) -> None:
        self.share.subtract(self._unwritten)
        self._unwritten = 0
        writable, self.writable = self.writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)

    # Where there is not enough for all

    def _make_room(self, most: int) -> None:
        """Close one connection if there are too many: that which has no whole head, or is idlest.

        If there is none, one whose body is slow; if they all wait for replies, this one. Those that
        end anyway are counted apart.
        """
        if len(self._connections) <= most:
            return
        ends = [one for one in self._connections if one.state is State.CLOSING]
        if len(self._connections) - len(ends) > most:
            found = (
                one
                for one in self._connections
                if one.state is State.HEAD or one.state is State.BODY
            )
            min(found, key=lambda one: (one is self, one.state is State.BODY, one.deadline)).evict()
        if len(ends) > most:
            ends[0].abort()

    def evict(self) -> None:
        """End, since others need the place."""
        told = "all connections that are allowed are open"
        if self.state is State.BODY or self._head_bytes or self._newest():
            self.refuse(HttpRefused(503, told, limit="connections"))
        else:  # a reply that nobody asked for could be taken for another request's
            self._service.watch.refused(503, told, "connections")
            self.abort()

    def _newest(self) -> bool:
        return next(reversed(self._connections)) is self

    def _take_from_slow(self, size: int) -> bool:
        """Give up the largest body that is not whole, if it has more than this request needs."""
        slow = [one for one in self._connections if one.state is State.BODY and one is not self]
        largest = max(slow, key=lambda one: one.share.charged, default=None)
        if largest is None or largest.share.charged <= self.share.charged + size:
            return False
        largest.no_room("request")
        return True

    # Requests

    def _on_head(self, data: bytes) -> None:
        most = self._service.limits().header_block_bytes
        came = self._head_bytes
        if came:
            before = self._last_bytes
            end = (before + data).find(_END) + len(_END) - len(before)
            ends = end >= len(_END) - len(before)
        else:
            end = data.find(_END) + len(_END)
            ends = end >= len(_END)
        if came + (end if ends else len(data)) > most:
            told = f"the request's head has more than {most} bytes"
            self.refuse(HttpRefused(HEADERS_TOO_LARGE, told, limit="header_block_bytes"))
            return
        if not ends:
            self._half_head(data)
            return
        self._handler.data_received(data)
        messages = self._handler._messages  # noqa: SLF001  test_server_aiohttp.py holds it
        if not messages:
            self._head_bytes, self._last_bytes = came + len(data), data[-3:]
            return
        message, payload = messages[0]
        if not isinstance(message, RawRequestMessage):
            self.refuse(_unreadable(message.exc))
            return
        self._head_bytes, self._last_bytes, self._payload = 0, b"", payload
        self._on_request(message, data, end, came + end)

    def _on_request(self, message: RawRequestMessage, data: bytes, end: int, size: int) -> None:
        """A head of `size` bytes is whole, and ends at `end` in `data`."""
        block = self._service.blocks.of(message.raw_headers)
        self.lasts = not message.should_close
        if not self._begin(message, block, size):
            return
        rest = len(data) - end
        if block.chunked:
            self._left, self._grown, self._quiet = None, 0, 0
            self._came_in_chunks(rest)
        elif rest < block.body_length:
            self._left = block.body_length - rest
            self._charge_body(rest)
        else:
            self._whole()
            self.lasts = self.lasts and rest == block.body_length
        if self.state is State.BODY and block.waits and not rest:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _half_head(self, data: bytes) -> None:
        if not self._head_bytes:
            self.deadline = self._loop.time() + self._service.timeouts.head
        self._head_bytes += len(data)
        self._last_bytes = (self._last_bytes + data)[-3:]
        self._handler.data_received(data)
        messages = self._handler._messages  # noqa: SLF001  as in `_on_head`
        if messages:
            message = messages[0][0]
            self.refuse(_unreadable(getattr(message, "exc", None)))
        else:
            self._charge(len(data))

    def _begin(self, message: RawRequestMessage, block: Block, size: int) -> bool:
        """Take a request whose head is whole; False if it was refused."""
        service = self._service
        limits = service.limits()
        refused = block.refused or _not_spoken(message, block)
        if refused is None and block.body_length > limits.request_body_bytes:
            refused = _too_long(limits.request_body_bytes)
        if refused is None and service.active >= limits.concurrent_requests:
            told = f"{service.active} requests are under way, which is the limit"
            refused = HttpRefused(503, told, limit="concurrent_requests")
        if refused is not None:
            self.refuse(refused)
            return False
        if not self._charge(REQUEST_BYTES + 3 * size):
            return False
        self.state = State.BODY
        self.deadline = self._loop.time() + service.timeouts.body
        self._begun_at = time.perf_counter()
        service.active += 1
        service.watch.begun()
        return True

    def _on_body(self, data: bytes) -> None:
        """More of a body, or all of the rest, and perhaps what comes behind it."""
        left = self._left
        if left is not None:
            if len(data) >= left:
                behind, data = len(data) > left, data[:left]
                self.state, self.deadline = State.REPLY, math.inf
                if behind:
                    self.lasts = False
            self._left = left - len(data)
            if self._charge_body(len(data)):
                self._handler.data_received(data)
            return
        if self._charge_body(len(data)):
            self._handler.data_received(data)
            if not self._paused:  # else aiohttp keeps the rest as it is until it goes on
                self._came_in_chunks(len(data))

    def _came_in_chunks(self, count: int) -> None:
        """So many bytes of chunks were read: see whether the body grew, or ended."""
        payload, limits = self._payload, self._service.limits()
        messages = self._handler._messages  # noqa: SLF001  as in `_on_head`
        if messages and not isinstance(messages[-1][0], RawRequestMessage):
            self.refuse(_unreadable(messages[-1][0].exc))
        elif payload.total_bytes > limits.request_body_bytes:
            self.refuse(_too_long(limits.request_body_bytes))
        elif payload.is_eof():
            self._whole()
        elif payload.total_bytes != self._grown:
            self._grown, self._quiet = payload.total_bytes, 0
        else:
            self._quiet += count
            if self._quiet > limits.header_block_bytes:
                told = f"a chunk's head, or the trailers, have more than {self._quiet} bytes"
                self.refuse(HttpRefused(HEADERS_TOO_LARGE, told, limit="header_block_bytes"))

    def _whole(self) -> None:
        """The request is whole: whatever was read behind it is dropped, and is the last."""
        self.state, self.deadline = State.REPLY, math.inf
        messages = self._handler._messages  # noqa: SLF001  as in `_on_head`
        own = 1 if messages and messages[0][1] is self._payload else 0
        while len(messages) > own:
            self.lasts = False
            messages.pop()

    async def body(self) -> bytes:
        """The body of the request that is under way, whole.

        Raises `ConnectionAbortedError` once it was refused.
        """
        payload = self._payload
        if payload.is_eof():
            body = payload.read_nowait() if payload is not EMPTY_PAYLOAD else b""
        else:
            pieces, most = Pieces(), self._service.limits().request_body_bytes
            while piece := await payload.readany():
                if pieces.add(piece) > most:
                    self.refuse(_too_long(most))
                    raise ConnectionAbortedError
            body = pieces.join()
            if self.state is State.BODY:  # aiohttp had been paused before the end of the chunks
                self._whole()
        self.share.subtract(self._unread)
        self._unread = 0
        if body and not self._charge(parsed_cost(body)):
            raise ConnectionAbortedError
        return body

    def _charge_body(self, size: int) -> bool:
        size += size // 4  # measured, with what holds the pieces
        self._unread += size
        return self._charge(size)

    def _charge(self, size: int) -> bool:
        """Whether there is room for so much more; else it was refused."""
        try:
            self.share.add(size)
        except TooBig:
            told = "the request needs more memory than there is for all"
            self.refuse(HttpRefused(413, told, limit="memory_bytes"))
        except NoRoom:
            if self._take_from_slow(size):
                return self._charge(size)
            self.no_room("request")
        else:
            return True
        return False

    def no_room(self, what: str) -> None:
        told = f"others fill the memory, so there is none for this {what}: try again later"
        self.refuse(HttpRefused(503, told, limit="memory_bytes"))

    # Replies

    def refuse(self, refused: HttpRefused) -> None:
        """Answer what was not read whole: its rest is lost with the connection."""
        self._service.watch.refused(refused.status, refused.reason, refused.limit)
        self.end_with(refused.status, refused.reason)

    def end_with(self, status: int, reason: str) -> None:
        """Answer with words of ours, as the last reply."""
        if self.state is State.CLOSING:
            return
        self.write(self._service.heads.refusal(status, reason))
        self.close()
        self._end_handler()

    def answered(self) -> None:
        """The reply is written: the next request may come."""
        self._forget()
        if self.lasts and self.state is State.REPLY:
            self.state = State.HEAD
            self.deadline = self._loop.time() + self._service.timeouts.idle

    def time_out(self) -> None:
        """The client is late."""
        if self.state is State.CLOSING:
            self.abort()
        elif self.state is State.BODY:
            told = f"the body did not come within {self._service.timeouts.body:g} s"
            self.refuse(HttpRefused(408, told))
        elif self._head_bytes:
            told = f"the head did not come within {self._service.timeouts.head:g} s"
            self.refuse(HttpRefused(408, told))
        else:
            self.abort()

    @property
    def busy(self) -> bool:
        """Whether a request is under way."""
        return self._begun_at is not None

    def _forget(self) -> None:
        """No request is under way any more."""
        begun, self._begun_at = self._begun_at, None
        if begun is not None:
            self._service.active -= 1
            self._service.watch.ended(time.perf_counter() - begun)
        self._unread = 0
        self.share.keep(CONNECTION_BYTES)

    def _give_up(self) -> None:
        """The client has gone: so shall whoever works for it."""
        self.state, self.deadline = State.CLOSING, math.inf
        self._end_handler()

    def _end_handler(self) -> None:
        self._forget()
        self._handler.connection_lost(None)
        self.resume_writing()

    # The transport of aiohttp's handler

    def write(self, data: Any) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def close(self) -> None:
        """Say that this was all, and hear no more, until the client ends too."""
        if self.state is State.CLOSING:
            return
        self.state = State.CLOSING
        self._forget()
        transport = self._transport
        if transport is not None and not transport.is_closing():
            self.deadline = self._loop.time() + self._service.timeouts.linger
            self.resume_reading()
            with contextlib.suppress(OSError):  # the client has reset it
                transport.write_eof()

    def abort(self) -> None:
        self._connections.pop(self, None)
        self._give_up()
        if self._transport is not None:
            self._transport.abort()

    def is_closing(self) -> bool:
        return self.state is State.CLOSING

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return default if self._transport is None else self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if self._paused and self._transport is not None:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()


def _not_spoken(message: RawRequestMessage, block: Block) -> HttpRefused | None:
    if message.method == "CONNECT":
        return HttpRefused(400, "`CONNECT`: only HTTP/1.1 is spoken here")
    if message.version == (1, 1):
        return None
    if message.version != (1, 0):
        return HttpRefused(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    if block.chunked:
        return HttpRefused(400, "`Transfer-Encoding` is not of HTTP/1.0")
    return None


def _unreadable(error: BaseException | None) -> HttpRefused:
    """What aiohttp's parser found wrong, without anything that the client sent."""
    said = str(getattr(error, "message", ""))
    if isinstance(error, LineTooLong) or said == _TOO_MANY:
        told = f"the head has more than {MOST_HEADERS} headers"
        if isinstance(error, LineTooLong):
            told = "a line of the request's head is too long"
        return HttpRefused(HEADERS_TOO_LARGE, told, limit="header_block_bytes")
    kinds: tuple[tuple[type[Exception], str], ...] = (
        (BadHttpMethod, "its method is none of HTTP's"),
        (InvalidURLError, "its target is no URL"),
        (BadStatusLine, "its first line cannot be read"),
    )
    for kind, told in kinds:
        if isinstance(error, kind):
            return HttpRefused(400, f"the request is not HTTP: {told}")
    reason, quoted, _ = said.partition(":\n\n")  # llhttp's own words come before what it quotes
    return HttpRefused(400, f"the request is not HTTP: {reason[:100] if quoted else 'a header'}")


def _too_long(most: int) -> HttpRefused:
    return HttpRefused(413, f"the body has more than {most} bytes", limit="request_body_bytes")
