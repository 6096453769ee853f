"""The ports of the proxy, on aiohttp's server: requests as plain values in, replies out."""

import asyncio
import errno
import socket
from collections.abc import AsyncIterator, Iterator, Sequence
from logging import Logger, NullHandler
from typing import Any

from aiohttp.http import RawRequestMessage
from aiohttp.http_parser import HttpRequestParser
from aiohttp.http_parser import HttpRequestParserPy as PurePythonParser
from aiohttp.streams import StreamReader
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_server import Server  # `aiohttp.web` takes 1.3 MB more

from thoughtgate_proxy.core.protocol.http import (
    HttpReply,
    HttpRequest,
    ReplyCut,
    first,
)
from thoughtgate_proxy.listeners.attention import FEW
from thoughtgate_proxy.listeners.metered import Metered, State
from thoughtgate_proxy.listeners.service import READ_BYTES, Service
from thoughtgate_proxy.runtime import heap

_NO_SUCH_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
_LOOK_SECONDS = 0.02
_TRIM_BYTES = 4 << 20
# The head is bounded before aiohttp sees it; its own limits only must not be lower.
_LINE_BYTES = 1 << 17
_MOST_HEADERS = 128
_FAILED = "ThoughtGate failed and let nothing pass"


class ParserTooLax(RuntimeError):
    """aiohttp has only its parser in pure Python, which lets pass what llhttp refuses."""


class _Done:
    """What is awaited where there is nothing to wait for."""

    def __await__(self) -> Iterator[None]:
        return iter(())


_DONE = _Done()


class _Request:
    """A request as aiohttp's handler wants it, and no more."""

    __slots__ = ("_task", "connection", "message")

    def __init__(self, message: RawRequestMessage, connection: Metered) -> None:
        self.message, self.connection = message, connection
        self._task: object = None

    def _cancel(self, exc: BaseException) -> None:
        """The client has gone: whoever answers is cancelled, which is enough."""

    def _finish(self) -> None:
        """Nothing is kept for after the reply."""


class _Response:
    """A reply as aiohttp's handler wants it, written to the client in one piece if it can be."""

    __slots__ = ("_bare", "_chunks", "_connection", "_head", "_reply", "_service", "keep_alive")
    # aiohttp looks whether it was raised.
    __http_exception__ = False

    def __init__(self, service: Service, request: _Request, reply: HttpReply) -> None:
        self._service, self._connection, self._reply = service, request.connection, reply
        self.keep_alive = True
        """Whether the connection may be used again."""
        connection, message, body = request.connection, request.message, reply.body
        self._chunks = False
        self._bare = message.method == "HEAD"
        if service.closing:
            connection.lasts = False
        if isinstance(body, bytes):
            self._head = service.heads.whole(
                reply.status, reply.headers, body, last=not connection.lasts
            )
            return
        length = first(reply.headers, "content-length")
        self._chunks = length is None and message.version == (1, 1)
        if length is None and not self._chunks:
            connection.lasts = False
        self._head = service.heads.streamed(
            reply.status, reply.headers, length, chunks=self._chunks, last=not connection.lasts
        )

    def prepare(self, _: object) -> Any:
        """Nothing is written before all is known."""
        return _DONE

    def write_eof(self) -> Any:
        """Write the reply. What it gives to await raises `ConnectionError` if it was cut short."""
        connection, reply = self._connection, self._reply
        if connection.is_closing():
            reply.close()
            return _DONE
        body = reply.body
        if not isinstance(body, bytes):
            return self._stream(body)
        connection.write(self._head if self._bare else self._head + body)
        reply.close()
        return self._written() if connection.writable is not None else self._answered()

    def _answered(self) -> _Done:
        connection, service = self._connection, self._service
        connection.answered()
        self.keep_alive = connection.lasts
        if service.active < FEW and self.keep_alive:
            service.to_requests.expect()
        return _DONE

    async def _written(self) -> None:
        await _drained(self._connection)
        self._answered()

    async def _stream(self, body: AsyncIterator[bytes]) -> None:
        connection, watch, chunks = self._connection, self._service.watch, self._chunks
        try:
            connection.write(self._head)
            async for piece in body:
                if piece:
                    connection.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunks else piece)
                if connection.writable is not None:
                    await _drained(connection)
            if chunks:
                connection.write(b"0\r\n\r\n")
        except ReplyCut as error:
            watch.cut(str(error))
            connection.abort()  # the client must not take what it has for the whole
            raise ConnectionAbortedError from None
        except Exception as error:  # noqa: BLE001  whatever we got wrong, likewise
            if not isinstance(error, ConnectionError):
                watch.broken(error)
            connection.abort()
            raise ConnectionAbortedError from None
        finally:
            self._reply.close()
        self._answered()


async def _drained(connection: Metered) -> None:
    """Wait until the client has taken most of what was written. Raises `ConnectionError`."""
    if connection.writable is not None:
        await connection.writable
    if connection.is_closing():
        raise ConnectionResetError


class _Handler(RequestHandler):
    """aiohttp's handler of one connection, which tells clients nothing but our own words."""

    __slots__ = ("_service", "connection")

    def __init__(self, service: Service, manager: Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._service = service
        self.connection: Metered | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, Metered)  # noqa: S101  `_Server` gives it to nobody else
        self.connection = transport
        super().connection_made(transport)

    def handle_error(
        self,
        request: Any,
        status: int = 500,  # noqa: ARG002  aiohttp's: what cannot be read does not come here
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002  it may quote what the client sent
    ) -> Any:
        connection: Metered = request.connection
        if isinstance(exc, ConnectionError):
            if not connection.is_closing():
                connection.abort()
        elif exc is not None:
            self._service.watch.broken(exc)
            connection.end_with(500, _FAILED)
        raise ConnectionResetError from None

    def log_exception(self, *_: Any, exc_info: BaseException | None = None, **__: Any) -> None:
        self._service.watch.broken(exc_info or RuntimeError())


class _Server(Server):
    """aiohttp's low-level server: no router, no middleware, no access log."""

    def __init__(self, service: Service) -> None:
        silent = Logger("silent")  # noqa: LOG001  it is for nobody else to find
        silent.addHandler(NullHandler())
        super().__init__(
            self._answer,  # type: ignore[arg-type]  # what aiohttp needs of them, they have
            request_factory=_request,  # type: ignore[arg-type]  # likewise
            handler_cancellation=True,
            access_log=None,
            auto_decompress=False,
            keepalive_timeout=service.timeouts.idle + 60,  # `Metered` sees to it
            lingering_time=0,
            logger=silent,
            max_field_size=_LINE_BYTES,
            max_headers=_MOST_HEADERS,
            max_line_size=_LINE_BYTES,
            read_bufsize=READ_BYTES,
        )
        self._service = service

    def __call__(self) -> _Handler:
        # Not aiohttp's, which leaves all settings out if one of them is misspelt.
        return _Handler(self._service, self, loop=self._loop, **self._kwargs)

    async def _answer(self, request: _Request) -> _Response:
        service, connection, message = self._service, request.connection, request.message
        body = await connection.body()
        target = message.path
        if not target.isascii():  # as it stood in the request line, byte for byte
            target = target.encode("utf-8", "surrogateescape").decode("latin-1")
        method = message.method
        headers = service.blocks.of(message.raw_headers).headers
        answer = service.handle(HttpRequest(method, target, headers, body))
        if not isinstance(answer, HttpReply):
            if service.active <= FEW:
                service.to_replies.expect()
            try:
                reply = await answer
            except asyncio.CancelledError:
                if connection.is_closing():
                    _close_unread(answer)
                    raise
                # It was not the client that gave it up.
                raise RuntimeError("the reply was given up") from None
            service.to_replies.came()
        else:
            reply = answer
        try:
            return _Response(service, request, reply)
        except BaseException:
            reply.close()
            raise


def _close_unread(answer: object) -> None:
    """A reply came in the moment in which its client went."""
    if not isinstance(answer, asyncio.Future) or not answer.done() or answer.cancelled():
        return
    if answer.exception() is None:
        answer.result().close()


def _request(
    message: RawRequestMessage, _: StreamReader, handler: _Handler, *__: object
) -> _Request:
    connection = handler.connection
    assert connection is not None  # noqa: S101  a message came over it
    return _Request(message, connection)


class HttpServer:
    """The connections of one service."""

    def __init__(self, service: Service) -> None:
        """Raises `ParserTooLax`."""
        if HttpRequestParser is PurePythonParser:
            raise ParserTooLax("aiohttp's C extensions are missing; its Python parser is too lax")
        self._service, self._server = service, _Server(service)
        self._connections: dict[Metered, None] = {}
        self._loop = asyncio.get_running_loop()
        self._sweeping: asyncio.TimerHandle | None = None
        self._high = 0  # the most that was charged since the heap was trimmed
        times = service.timeouts
        self._period = min(1.0, min(times.idle, times.head, times.body, times.linger) / 4)

    def __call__(self) -> Metered:
        """Make the protocol of a new connection."""
        if self._sweeping is None:
            self._sweeping = self._loop.call_later(self._period, self._sweep)
        return Metered(self._service, self._server(), self._connections)

    def _sweep(self) -> None:
        """Look who is late. One timer for all connections costs a request nothing."""
        now = self._loop.time()
        for connection in [one for one in self._connections if one.deadline <= now]:
            connection.time_out()
        self._sweeping = None
        self._trim()
        if self._connections:
            self._sweeping = self._loop.call_later(self._period, self._sweep)

    def _trim(self) -> None:
        """Give the kernel back what peers had filled and fill no more."""
        taken = self._service.budget.taken
        self._high = max(self._high, taken)
        if self._high > _TRIM_BYTES and taken < self._high // 4:
            self._high = taken
            heap.trim()

    async def shutdown(self, seconds: float) -> None:
        """Close all connections; those with requests under way have so long to end by themselves.

        Whoever listened has stopped before.
        """
        self._service.closing = True
        end = self._loop.time() + seconds
        for connection in [one for one in self._connections if not one.busy]:
            connection.abort() if connection.state is State.CLOSING else connection.close()
        # ASYNC110: a short look at the end of the process, where an event would need to be kept up.
        while (  # noqa: ASYNC110
            any(connection.busy for connection in self._connections) and self._loop.time() < end
        ):
            await asyncio.sleep(_LOOK_SECONDS)
        for connection in list(self._connections):
            connection.abort()
        if self._sweeping is not None:
            self._sweeping.cancel()
        await asyncio.sleep(0)  # those who are cancelled end now


async def listen(server: HttpServer, hosts: Sequence[str], port: int) -> list[asyncio.Server]:
    """Bind `server` to `port` of each of `hosts` (0: one free port for all).

    An IPv6 address is left out on a machine without IPv6, unless it is the only one. Raises
    OSError.
    """
    listening: list[asyncio.Server] = []
    for host in hosts:
        try:
            bound = await asyncio.get_running_loop().create_server(server, host, port, backlog=1024)
        except OSError as error:
            if ":" in host and error.errno in _NO_SUCH_FAMILY and listening:
                continue
            for other in listening:
                other.close()
            raise
        listening.append(bound)
        port = port or port_of(bound)
    return listening


def port_of(server: asyncio.Server) -> int:
    """The port that a server listens on."""
    listener: socket.socket = server.sockets[0]
    port: int = listener.getsockname()[1]
    return port
