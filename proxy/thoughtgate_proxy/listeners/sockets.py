"""Ports, bound on several addresses: to loopback in IPv4 and IPv6, or to all."""

import errno
import socket
from collections.abc import Sequence

_NO_SUCH_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


def bound(hosts: Sequence[str], port: int) -> list[socket.socket]:
    """Sockets on one port of all hosts (0: a free one). Raises OSError.

    An IPv6 address is left out on a machine without IPv6, unless it is the only one.
    """
    found: list[socket.socket] = []
    try:
        for host in hosts:
            try:
                family = socket.AF_INET6 if ":" in host else socket.AF_INET
                found.append(socket.create_server((host, port), family=family, backlog=128))
            except OSError as error:
                if ":" in host and error.errno in _NO_SUCH_FAMILY and found:
                    continue
                raise
            port = port or found[0].getsockname()[1]
    except OSError:
        for one in found:
            one.close()
        raise
    return found
