"""aiohttp's low-level server with strict settings, on the addresses that it is given."""

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from aiohttp import http_parser, web, web_protocol

_SETTINGS: Mapping[str, Any] = {
    # Bodies must be judged as they are; the length of a line is bounded by the whole block's.
    "auto_decompress": False,
    "max_line_size": 1 << 16,
    "max_field_size": 1 << 16,
    # Also bounds how long a connection may stay without a whole request head.
    "keepalive_timeout": 75.0,
    "access_log": None,
}
_NO_SUCH_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


def http_server(
    handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]],
) -> web.Server:
    """A server for `handler`. Raises `RuntimeError` where aiohttp's strict parser is missing."""
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise RuntimeError(
            "aiohttp runs without its C extensions, whose parser alone is strict enough here: "
            "unset AIOHTTP_NO_EXTENSIONS, or install aiohttp as a wheel"
        )
    server = web.Server(handler, handler_cancellation=True, **_SETTINGS)
    # A misspelt setting would silently drop all of them; made directly, it is a TypeError.
    web_protocol.RequestHandler(server, loop=asyncio.get_running_loop(), **_SETTINGS)
    return server


async def listen(server: web.Server, hosts: Sequence[str], port: int) -> list[asyncio.Server]:
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
