"""Listens for clients, on the addresses that it is given."""

import asyncio
import errno
import socket
from collections.abc import Sequence

from thoughtgate_proxy.http1.connection import ClientConnection
from thoughtgate_proxy.http1.service import Service

_NO_SUCH_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
_LOOK_SECONDS = 0.02


class HttpServer:
    """The connections of one service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._connections: set[ClientConnection] = set()

    def __call__(self) -> ClientConnection:
        """Make the protocol of a new connection."""
        return ClientConnection(self._service, self._connections)

    async def shutdown(self, seconds: float) -> None:
        """Close all connections; those with requests under way have so long to end by themselves.

        Whoever listened has stopped before.
        """
        self._service.closing = True
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        for connection in list(self._connections):
            connection.close()
        # ASYNC110: a short look at the end of the process, where an event would need to be kept up.
        while (  # noqa: ASYNC110
            any(connection.busy for connection in self._connections) and loop.time() < end
        ):
            await asyncio.sleep(_LOOK_SECONDS)
        for connection in list(self._connections):
            connection.abort()
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
