"""One client's connection: its requests are answered one after another."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import cast

from thoughtgate_proxy.core.protocol.http import HttpRefused, HttpReply, ReplyCut, first
from thoughtgate_proxy.exchange.exchange import Exchange
from thoughtgate_proxy.http1.attention import FEW
from thoughtgate_proxy.http1.requests import Incoming, RequestReader
from thoughtgate_proxy.http1.service import Service

# A connection that is closed with unread bytes is reset, and what the client was told may be lost
# with it; so whoever is still sending may go on for a while, and nobody listens.
_LINGER_SECONDS = 5.0
# A timer may come early by as much as the loop's clock is coarse.
_TICK = 0.001


class ClientConnection(asyncio.Protocol):
    """Reads no more while a request is under way, and writes no faster than the client reads."""

    def __init__(self, service: Service, connections: "set[ClientConnection]") -> None:
        """It is one of `connections` for as long as it is open."""
        self._service, self._connections = service, connections
        self._loop = asyncio.get_running_loop()
        self._reader = RequestReader(service.blocks, service.known, service.budget, service.limits)
        self._transport: asyncio.Transport | None = None
        self._later = b""  # what came while a request was under way
        self._refused: HttpRefused | None = None  # once all requests before it are answered
        self._ended = False  # nothing is read any more
        self._going_on = False
        # The request under way, if any.
        self._incoming: Incoming | None = None
        self._begun_at: float | None = None
        self._answer: asyncio.Future[HttpReply] | None = None
        self._streaming: asyncio.Task[None] | None = None
        self._writable: asyncio.Future[None] | None = None  # while the client reads too slowly
        # One timer for all waiting: when it comes it looks whether its time really has.
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one, if not by name
        self._connections.add(self)
        self._wait(self._service.idle_seconds)

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        self._service.to_requests.came()
        if self._incoming is not None or self._writable is not None:
            self._later += data
            self._read(on=False)
            return
        self._feed(data)
        self._go_on()

    def eof_received(self) -> bool:
        self._give_up()  # half a connection is no client: nobody would take the answer
        return False

    def connection_lost(self, _: Exception | None) -> None:
        self._give_up()
        self._transport = None
        self._connections.discard(self)
        if self._timer is not None:
            self._timer.cancel()

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        writable, self._writable = self._writable, None
        if writable is not None and not writable.done():
            writable.set_result(None)
        self._go_on()

    # The listener's side

    @property
    def busy(self) -> bool:
        """Whether a request is under way."""
        return self._begun_at is not None

    def close(self) -> None:
        """End now, unless a request is under way, whose reply is then the last."""
        if not self.busy and self._transport is not None:
            self._give_up()
            self._transport.close()

    def abort(self) -> None:
        """End at once."""
        self._give_up()
        if self._transport is not None:
            self._transport.abort()

    # Requests

    def _feed(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
        except HttpRefused as refused:
            self._refused = refused

    def _go_on(self) -> None:
        """Take what comes next, as long as the client takes what it was told so far."""
        if self._going_on:
            return  # a reply was at hand at once, and the loop below sees to the next request
        self._going_on = True
        while self._incoming is None and self._writable is None and not self._ended:
            if self._reader.ready:
                self._begin(self._reader.ready.pop(0))
            elif self._refused is not None:
                self._refuse(self._refused)
            elif self._later:
                data, self._later = self._later, b""
                self._feed(data)
                self._read(on=True)
            else:
                if self._reader.in_body:
                    self._await_body()
                break
        self._going_on = False

    def _await_body(self) -> None:
        if not self.busy:
            # One limit for the whole, or a byte now and then would hold the memory for ever.
            self._wait(self._service.body_seconds)
            if not self._count_in():
                return
        if self._reader.wants_leave():
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _begin(self, incoming: Incoming) -> None:
        self._incoming = incoming
        if not self._count_in():
            return
        try:
            answer = self._service.handle(incoming.request)
            if isinstance(answer, HttpReply):
                self._reply(incoming, answer)
                return
            if not isinstance(answer, asyncio.Future):
                answer = asyncio.ensure_future(answer)
        except Exception as error:  # noqa: BLE001  whatever we got wrong, the client is told
            self._break(error)
            return
        self._answer = answer
        if isinstance(answer, Exchange) and not answer.done():
            answer.call_when_done(self._answered)
        else:
            answer.add_done_callback(self._answered)
        if self._service.active <= FEW:
            self._service.to_replies.expect()

    def _count_in(self) -> bool:
        """Count a request as under way; False if that is one too many, and it was refused."""
        if self._begun_at is not None:
            return True
        service, most = self._service, self._service.limits().concurrent_requests
        if service.active >= most:
            told = f"{service.active} requests are under way, which is the limit"
            self._refuse(HttpRefused(503, told, limit="concurrent_requests"))
            return False
        self._begun_at = time.perf_counter()
        service.active += 1
        service.watch.begun()
        return True

    # Replies

    def _answered(self, answer: "asyncio.Future[HttpReply]") -> None:
        incoming = self._incoming if self._answer is answer else None
        if incoming is None:  # the client has gone meanwhile
            if not answer.cancelled() and answer.exception() is None:
                answer.result().close()
            return
        self._answer = None
        self._service.to_replies.came()
        try:
            self._reply(incoming, answer.result())
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  as in `_begin`
            self._break(error)

    def _reply(self, incoming: Incoming, reply: HttpReply) -> None:
        heads, body = self._service.heads, reply.body
        last = self._service.closing or not incoming.lasts
        if isinstance(body, bytes):
            head = heads.whole(reply.status, reply.headers, body, last=last)
            self._write(head if incoming.request.method == "HEAD" else head + body)
            reply.close()
            self._done(last=last)
            return
        length = first(reply.headers, "content-length")
        chunks = length is None and incoming.chunks
        last = last or (length is None and not chunks)
        self._write(heads.streamed(reply.status, reply.headers, length, chunks=chunks, last=last))
        self._streaming = self._loop.create_task(self._stream(body, chunks=chunks, last=last))
        # Not by itself: it may be cancelled before its first step.
        self._streaming.add_done_callback(lambda _: reply.close())

    async def _stream(self, body: AsyncIterator[bytes], *, chunks: bool, last: bool) -> None:
        try:
            async for piece in body:
                if piece:
                    self._write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunks else piece)
                if self._writable is not None:
                    await self._writable
        except ReplyCut as error:
            self._streaming = None
            self._service.watch.cut(str(error))
            self.abort()  # the client must not take what it has for the whole
        except Exception as error:  # noqa: BLE001  likewise
            self._streaming = None
            self._service.watch.broken(error)
            self.abort()
        else:
            self._streaming = None
            if chunks:
                self._write(b"0\r\n\r\n")
            self._done(last=last)

    def _done(self, *, last: bool) -> None:
        """The reply is written: take the next request, or end with this one."""
        self._forget()
        if last:
            self._linger()
            return
        self._wait(self._service.idle_seconds)
        if self._service.active < FEW:
            self._service.to_requests.expect()
        self._go_on()

    def _forget(self) -> None:
        """No request is under way any more."""
        if self._begun_at is not None:
            self._service.active -= 1
            self._service.watch.ended(time.perf_counter() - self._begun_at)
            self._begun_at = None
        incoming, self._incoming = self._incoming, None
        if incoming is not None:
            incoming.share.release()

    def _break(self, error: BaseException) -> None:
        """A mistake of ours is no reply of the server's, and nothing that a client should see."""
        if isinstance(error, ConnectionError):
            self.abort()
            return
        self._service.watch.broken(error)
        text = "ThoughtGate failed and let nothing pass"
        self._write(self._service.heads.refusal(500, text))
        self._done(last=True)

    def _refuse(self, refused: HttpRefused) -> None:
        """Answer what was not read whole: its rest is lost with the connection."""
        self._service.watch.refused(refused.status, refused.reason, refused.limit)
        self._write(self._service.heads.refusal(refused.status, refused.reason))
        self._done(last=True)

    # The connection

    def _write(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(data)

    def _read(self, *, on: bool) -> None:
        if self._transport is not None and not self._transport.is_closing():
            if on:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()

    def _linger(self) -> None:
        """Say that this was all, and hear no more, until the client ends too."""
        self._ended = True
        self._reader.release()
        self._later = b""
        if self._transport is not None and not self._transport.is_closing():
            self._read(on=True)
            self._transport.write_eof()
            self._wait(_LINGER_SECONDS)

    def _give_up(self) -> None:
        """The client has gone: so shall whoever works for it."""
        self._ended = True
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.cancel()
        streaming, self._streaming = self._streaming, None
        if streaming is not None:
            streaming.cancel()
        self._forget()
        self._reader.release()
        self._later = b""

    def _wait(self, seconds: float) -> None:
        """Wait so long for whatever the client should do next."""
        before, self._deadline = self._deadline, self._loop.time() + seconds
        if self._timer is not None and self._deadline < before:
            self._timer.cancel()
            self._timer = None
        if self._timer is None:
            self._timer = self._loop.call_at(self._deadline, self._time_out)

    def _time_out(self) -> None:
        self._timer = None
        if self._incoming is not None:
            return  # it is not the client that is waited for
        if self._deadline - self._loop.time() > _TICK:
            self._timer = self._loop.call_at(self._deadline, self._time_out)
        elif self._reader.in_body and not self._ended:
            told = f"the body did not come within {self._service.body_seconds:g} s"
            self._refuse(HttpRefused(408, told))
        elif self._ended:
            self.abort()
        elif self._transport is not None:
            self._transport.close()
