"""A connection to a server through a proxy, which passes bytes on and reads none (RFC 9110, 9.3.6).

What is asked of the server is inside TLS; the proxy learns its host and port.
"""

import asyncio
import re
import socket

from thoughtgate_proxy.runtime.forward_proxy import ForwardProxy

_END = b"\r\n\r\n"
_MOST_HEAD = 64 * 1024
_STATUS = re.compile(rb"HTTP/1\.[01] ([0-9]{3})(?: ([^\r\n]*))?\r\n")
_NEEDS_CREDENTIALS = b"407"


class TunnelRefused(ConnectionError):
    """The proxy opens no tunnel; the message is for the log."""


async def open_socket(proxy: ForwardProxy, host: str, port: int) -> socket.socket:
    """A socket whose other end is the server's. Raises `TunnelRefused`; has no time limit."""
    loop = asyncio.get_running_loop()
    connection = await _connected(proxy)
    try:
        await loop.sock_sendall(connection, _request(proxy, host, port))
        head = b""
        while _END not in head:
            piece = await loop.sock_recv(connection, 4096)
            if not piece:
                raise TunnelRefused("the proxy (HTTPS_PROXY) closed its connection")
            head += piece
            if len(head) > _MOST_HEAD:
                raise TunnelRefused(f"the proxy's headers are longer than {_MOST_HEAD} bytes")
        _check(head)
    except TunnelRefused:
        connection.close()
        raise
    except OSError as error:
        connection.close()
        raise TunnelRefused(f"the proxy (HTTPS_PROXY) failed: {error}") from error
    except BaseException:
        connection.close()
        raise
    return connection


async def _connected(proxy: ForwardProxy) -> socket.socket:
    """A connection to the proxy, at the first of its addresses that answers."""
    loop = asyncio.get_running_loop()
    failed: OSError | None = None
    try:
        found = await loop.getaddrinfo(proxy.host, proxy.port, type=socket.SOCK_STREAM)
    except OSError as error:
        found, failed = [], error
    for family, kind, protocol, _, address in found:
        connection = socket.socket(family, kind, protocol)
        try:
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(connection, address)
        except OSError as error:
            connection.close()
            failed = error
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise TunnelRefused(f"the proxy (HTTPS_PROXY) cannot be reached: {failed}") from failed


def _request(proxy: ForwardProxy, host: str, port: int) -> bytes:
    authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
    if proxy.authorization is not None:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def _check(head: bytes) -> None:
    """Refuse whatever is not the bare leave to go on. Raises `TunnelRefused`."""
    status = _STATUS.match(head)
    if status is None:
        raise TunnelRefused("the proxy (HTTPS_PROXY) does not speak HTTP")
    if not status[1].startswith(b"2"):
        said = ascii(status[0][9:-2][:100].decode("latin-1"))[1:-1]
        hint = ": set user and password in its URL" if status[1] == _NEEDS_CREDENTIALS else ""
        raise TunnelRefused(f"the proxy (HTTPS_PROXY) refuses the tunnel with `{said}`{hint}")
    if not head.endswith(_END) or head.count(_END) > 1:
        # The server says nothing before we do, so this would be somebody else's.
        raise TunnelRefused("the proxy (HTTPS_PROXY) sent more than its answer")
