"""aiohttp's low-level server with strict settings, on the addresses that it is given."""

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import NoReturn, Protocol

from aiohttp import hdrs, http_exceptions, http_parser, web, web_protocol
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import SERVER_SOFTWARE, RawRequestMessage
from aiohttp.streams import StreamReader

_MOST_LINE = 1 << 16
HEADERS_TOO_LARGE = 431
IDLE_SECONDS = 75.0
_NO_SUCH_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Complaints(Protocol):
    """Is told of what never became a request, and of what went wrong in answering one."""

    def refused(self, status: int, reason: str, limit: str | None = None) -> None:
        """`limit` is the configuration's key of the limit that the request is over, if any."""

    def broken(self, error: BaseException | None) -> None: ...


class ParserTooLax(Exception):
    """aiohttp's strict parser is missing."""


class HttpServer(web.Server):
    """A server for one handler, whose every answer is JSON with words. Raises `ParserTooLax`."""

    def __init__(
        self, handler: Handler, complaints: Complaints, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        """`idle_seconds`: how long a connection may stay without a whole request head."""
        if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
            raise ParserTooLax(
                "aiohttp runs without its C extensions, whose parser alone is strict enough here: "
                "unset AIOHTTP_NO_EXTENSIONS, or install aiohttp as a wheel"
            )
        super().__init__(handler, handler_cancellation=True, request_factory=_request)
        self.complaints, self._idle_seconds = complaints, idle_seconds

    def __call__(self) -> web_protocol.RequestHandler:
        """One connection. Made here since aiohttp drops all settings if it does not know one."""
        return _Connection(
            self,
            loop=asyncio.get_running_loop(),
            # Bodies must be judged as they are; a line's length is bounded by the whole block's.
            auto_decompress=False,
            max_line_size=_MOST_LINE,
            max_field_size=_MOST_LINE,
            keepalive_timeout=self._idle_seconds,
            access_log=None,  # type: ignore[arg-type]  # none, which its type does not tell
        )


class _Request(web.BaseRequest):
    """Leaves out the name of the program, which aiohttp adds to each reply that has none."""

    async def _prepare_hook(self, response: web.StreamResponse) -> None:
        # The same object, since an upstream's own may well be equal.
        if response.headers.get(hdrs.SERVER) is SERVER_SOFTWARE:
            del response.headers[hdrs.SERVER]


def _request(
    message: RawRequestMessage,
    payload: StreamReader,
    protocol: web_protocol.RequestHandler,
    writer: AbstractStreamWriter,
    task: "asyncio.Task[None]",
) -> web.BaseRequest:
    return _Request(message, payload, protocol, writer, task, asyncio.get_running_loop())


class _Connection(web_protocol.RequestHandler):
    """Complains to us, where aiohttp would write stack traces with the client's bytes to stderr."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to a request that could not be read or that broke its handler."""
        server = self._manager
        if isinstance(exc, ConnectionError) or not isinstance(server, HttpServer):
            _give_up()  # the client is gone
        if isinstance(exc, http_exceptions.HttpProcessingError):
            status, reason = _understood(exc, message or "")
            limit = "header_block_bytes" if status == HEADERS_TOO_LARGE else None
            server.complaints.refused(status, reason, limit)
        else:
            reason = "ThoughtGate failed and let nothing pass"
            server.complaints.broken(exc)
        if request.writer.output_size > 0:
            _give_up()  # a second answer cannot follow the beginning of the first
        return refusal(status, reason)


def refusal(status: int, reason: str) -> web.Response:
    """A refusal of a request that was not read whole: its rest is lost with the connection."""
    response = web.json_response(
        {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": reason}}, status=status
    )
    response.force_close()
    return response


def _understood(exc: http_exceptions.HttpProcessingError, message: str) -> tuple[int, str]:
    """The status and the reason of a parser's error, without the bytes that it quotes."""
    if isinstance(exc, http_exceptions.LineTooLong):
        return HEADERS_TOO_LARGE, f"a line of the request's head has more than {_MOST_LINE} bytes"
    if message == "Too many headers received":
        return HEADERS_TOO_LARGE, "the request has more than 128 headers"
    return 400, f"the request is not HTTP: {message.partition(chr(10))[0].partition(':')[0][:100]}"


def _give_up() -> NoReturn:
    raise ConnectionError("the connection is not fit for an answer")


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
