"""The ports of the proxy, on aiohttp's server: requests as plain values in, replies out."""

import asyncio
import errno
import socket
from collections.abc import Sequence
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
)
from thoughtgate_proxy.listeners.attention import FEW
from thoughtgate_proxy.listeners.connection_types import ReadState
from thoughtgate_proxy.listeners.connections import OpenConnections
from thoughtgate_proxy.listeners.metered import Metered
from thoughtgate_proxy.listeners.prepared import ParsedRequest, PreparedResponse
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

    async def _answer(self, request: ParsedRequest) -> PreparedResponse:
        service, connection, message = self._service, request.connection, request.message
        body = await connection.body()
        target = message.path
        if not target.isascii():  # as it stood in the request line, byte for byte
            target = target.encode("utf-8", "surrogateescape").decode("latin-1")
        method = message.method
        answer = service.handle(HttpRequest(method, target, connection.headers, body))
        if not isinstance(answer, HttpReply):
            if service.active <= FEW:
                service.to_replies.expect()
            try:
                reply = await answer
            except asyncio.CancelledError:
                _close_unread(answer)
                if connection.is_closing():
                    raise
                # It was not the client that gave it up.
                raise RuntimeError("the reply was given up") from None
            service.to_replies.came()
        else:
            reply = answer
        try:
            return PreparedResponse(service, request, reply)
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
) -> ParsedRequest:
    connection = handler.connection
    assert connection is not None  # noqa: S101  a message came over it
    return ParsedRequest(message, connection)


class HttpServer:
    """The connections of one service."""

    def __init__(self, service: Service) -> None:
        """Raises `ParserTooLax`."""
        if HttpRequestParser is PurePythonParser:
            raise ParserTooLax("aiohttp's C extensions are missing; its Python parser is too lax")
        self._service, self._server = service, _Server(service)
        self._connections = OpenConnections()
        self._loop = asyncio.get_running_loop()
        self._sweeping: asyncio.TimerHandle | None = None
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
        if self._service.budget.emptied(_TRIM_BYTES):
            heap.trim()  # what peers had filled is the kernel's again
        if self._connections:
            self._sweeping = self._loop.call_later(self._period, self._sweep)

    async def shutdown(self, seconds: float) -> None:
        """Close all connections; those with requests under way have so long to end by themselves.

        Whoever listened has stopped before.
        """
        self._service.closing = True
        end = self._loop.time() + seconds
        for connection in [one for one in self._connections if not one.busy]:
            connection.abort() if connection.read_state is ReadState.CLOSING else connection.close()
        # ASYNC110: a short look at the end of the process, where an event would need to be kept up.
        while (  # noqa: ASYNC110
            any(connection.busy for connection in self._connections) and self._loop.time() < end
        ):
            await asyncio.sleep(_LOOK_SECONDS)
        for connection in self._connections:
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
