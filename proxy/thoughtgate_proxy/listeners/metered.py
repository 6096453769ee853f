"""What stands between a client's socket and aiohttp, and bounds what the client can cost.

aiohttp reads HTTP, strictly, and takes a request to its handler. It does not bound what a peer can
make it keep, nor how long a body may take; and it quotes what it cannot read.
"""

import asyncio
import contextlib
import math
import time
from typing import Any, cast

from aiohttp.http import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD

from thoughtgate_proxy.core.memory_budget import NoRoom, Share, TooBig, parsed_cost
from thoughtgate_proxy.core.protocol.http import Headers, HttpRefused
from thoughtgate_proxy.listeners.body_pieces import read_whole
from thoughtgate_proxy.listeners.connection_types import Connections, Queue, ReadState
from thoughtgate_proxy.listeners.refusals import not_spoken, too_long, unreadable
from thoughtgate_proxy.listeners.request_head import HEADERS_TOO_LARGE, Block
from thoughtgate_proxy.listeners.service import Service

CONNECTION_BYTES = 1 << 14
"""What a connection is charged for as long as it is open: measured, with aiohttp's objects."""
REQUEST_BYTES = 1 << 14
"""What a request is charged beside its bytes: our objects and the server's connection for it."""
_END = b"\r\n\r\n"


class Metered(asyncio.BufferedProtocol, asyncio.Transport):
    """The client's protocol, and the transport of aiohttp's handler.

    One request at a time: bytes that come behind an unanswered one are dropped, and end the
    connection after its reply. So they cost nothing, and a client that leaves is always noticed.
    """

    def __init__(self, service: Service, handler: Queue, connections: Connections) -> None:
        """It is one of `connections` for as long as it is open."""
        super().__init__()
        self._service, self._handler, self._connections = service, handler, connections
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self.share = Share(service.budget)
        self.read_state = ReadState.HEAD
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
        self.headers: Headers = ()
        """Of the request that is under way."""
        self.lasts = True
        """Whether the connection may be used again after the reply."""
        self.writable: asyncio.Future[None] | None = None
        """Is done once the client has taken some of what was written; None if it is quick."""
        self._unwritten = 0  # bytes that are charged while they wait for it

    # The socket's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one, if not by name
        self._connections.add(self)
        self.deadline = self._loop.time() + self._service.timeouts.idle
        self._handler.connection_made(self)
        self._connections.make_room(self, self._service.limits().connections)
        if self.read_state is ReadState.HEAD:
            self._charge(CONNECTION_BYTES)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002  asyncio's
        return self._service.buffer

    def buffer_updated(self, nbytes: int) -> None:
        data = bytes(self._service.buffer[:nbytes])
        if self.read_state is ReadState.HEAD:
            self._service.to_requests.came()
            self._on_head(data)
        elif self.read_state is ReadState.BODY:
            self._on_body(data)
        elif self.read_state is ReadState.REPLY:
            self.lasts = False

    def eof_received(self) -> bool:
        self._give_up()  # half a connection is no client: nobody would take the answer
        return False

    def connection_lost(self, _: Exception | None) -> None:
        self._give_up()
        self._transport = None
        self._connections.discard(self)
        self.share.release()

    def pause_writing(self) -> None:
        self.writable = self._loop.create_future()
        size = self._transport.get_write_buffer_size() if self._transport is not None else 0
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

    def evict(self, *, newest: bool) -> None:
        """End, since others need the place."""
        told = "all connections that are allowed are open"
        if self.read_state is ReadState.BODY or self._head_bytes or newest:
            self.refuse(HttpRefused(503, told, limit="connections"))
        else:  # a reply that nobody asked for could be taken for another request's
            self._service.watch.refused(503, told, "connections")
            self.abort()

    def give_way(self) -> None:
        """End, since there is no room for what this keeps, or another needs it."""
        told = "others fill the memory: try again later"
        self.refuse(HttpRefused(503, told, limit="memory_bytes"))

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
            self.refuse(unreadable(message.exc))
            return
        self._head_bytes, self._last_bytes, self._payload = 0, b"", payload
        self._on_request(message, data, end, came + end)

    def _on_request(self, message: RawRequestMessage, data: bytes, end: int, size: int) -> None:
        """A head of `size` bytes is whole, and ends at `end` in `data`."""
        block = self._service.blocks.of(message.raw_headers)
        self.lasts, self.headers = not message.should_close, block.headers
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
        if self.read_state is ReadState.BODY and block.waits and not rest:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _half_head(self, data: bytes) -> None:
        if not self._head_bytes:
            self.deadline = self._loop.time() + self._service.timeouts.head
        self._head_bytes += len(data)
        self._last_bytes = (self._last_bytes + data)[-3:]
        self._handler.data_received(data)
        messages = self._handler._messages  # noqa: SLF001  as in `_on_head`
        if messages:
            self.refuse(unreadable(getattr(messages[0][0], "exc", None)))
        else:
            self._charge(len(data))

    def _begin(self, message: RawRequestMessage, block: Block, size: int) -> bool:
        """Take a request whose head is whole; False if it was refused."""
        service = self._service
        limits = service.limits()
        refused = block.refused or not_spoken(message, block)
        if refused is None and block.body_length > limits.request_body_bytes:
            refused = too_long(limits.request_body_bytes)
        if refused is None and service.active >= limits.concurrent_requests:
            told = f"{service.active} requests are under way, which is the limit"
            refused = HttpRefused(503, told, limit="concurrent_requests")
        if refused is not None:
            self.refuse(refused)
            return False
        if not self._charge(REQUEST_BYTES + 3 * size):
            return False
        self.read_state = ReadState.BODY
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
                self.read_state, self.deadline = ReadState.REPLY, math.inf
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
            self.refuse(unreadable(messages[-1][0].exc))
        elif payload.total_bytes > limits.request_body_bytes:
            self.refuse(too_long(limits.request_body_bytes))
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
        self.read_state, self.deadline = ReadState.REPLY, math.inf
        messages = self._handler._messages  # noqa: SLF001  as in `_on_head`
        own = 1 if messages and messages[0][1] is self._payload else 0
        while len(messages) > own:
            self.lasts = False
            messages.pop()

    async def body(self) -> bytes:
        """The whole body. Raises `ConnectionAbortedError` once it was refused."""
        payload = self._payload
        if payload.is_eof():
            body = payload.read_nowait() if payload is not EMPTY_PAYLOAD else b""
        else:
            most = self._service.limits().request_body_bytes
            whole = await read_whole(payload, most)
            if whole is None:
                self.refuse(too_long(most))
                raise ConnectionAbortedError
            body = whole
            if self.read_state is ReadState.BODY:  # aiohttp was paused before the last chunk
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
            if self._connections.make_way(self, self.share.charged + size):
                return self._charge(size)
            self.give_way()
        else:
            return True
        return False

    # Replies

    def refuse(self, refused: HttpRefused) -> None:
        """Answer what was not read whole: its rest is lost with the connection."""
        self._service.watch.refused(refused.status, refused.reason, refused.limit)
        self.end_with(refused.status, refused.reason)

    def end_with(self, status: int, reason: str) -> None:
        """Answer with words of ours, as the last reply."""
        if self.read_state is ReadState.CLOSING:
            return
        self.write(self._service.heads.refusal(status, reason))
        self.close()
        self._end_handler()

    def answered(self) -> None:
        """The reply is written: the next request may come."""
        self._forget()
        if self.lasts and self.read_state is ReadState.REPLY:
            self.read_state = ReadState.HEAD
            self.deadline = self._loop.time() + self._service.timeouts.idle

    def time_out(self) -> None:
        """The client is late."""
        if self.read_state is ReadState.CLOSING:
            self.abort()
        elif self.read_state is ReadState.BODY:
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
        self.read_state, self.deadline = ReadState.CLOSING, math.inf
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
        if self.read_state is ReadState.CLOSING:
            return
        self.read_state = ReadState.CLOSING
        self._forget()
        transport = self._transport
        if transport is not None and not transport.is_closing():
            self.deadline = self._loop.time() + self._service.timeouts.linger
            self.resume_reading()
            with contextlib.suppress(OSError):  # the client has reset it
                transport.write_eof()

    def abort(self) -> None:
        self._connections.discard(self)
        self._give_up()
        if self._transport is not None:
            self._transport.abort()

    def is_closing(self) -> bool:
        return self.read_state is ReadState.CLOSING

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
