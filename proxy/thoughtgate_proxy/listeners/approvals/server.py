"""The approvals page of a process: port 7468, from the first workflow on that asks there.

aiohttp comes with the page, and is loaded only then.
"""

import asyncio
import errno
import socket
from collections.abc import Sequence

from thoughtgate_proxy.approvals.channels.page.channel import PageChannel
from thoughtgate_proxy.core.policy.identity import Identity
from thoughtgate_proxy.runtime.settings import LOOPBACK
from thoughtgate_proxy.telemetry.log import Log

_NO_SUCH_FAMILY = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)


class ApprovalsPage:
    """The page's port."""

    def __init__(self, port: int, who: Identity, log: Log) -> None:
        self._port, self._log = port, log
        self._whose = {"principal": who.agent, "namespace": who.namespace, "pod": who.pod}
        self._sockets: list[socket.socket] = []

    def open(self) -> int:
        """Take the port, so that nobody else in the pod has it; gives it. Raises OSError."""
        if not self._sockets:
            self._sockets = bound(LOOPBACK, self._port)
        port: int = self._sockets[0].getsockname()[1]
        return port

    async def serve(self, page: PageChannel) -> None:
        """Serve the page until cancelled. Raises `OSError` where it cannot listen."""
        self.open()
        from thoughtgate_proxy.listeners.approvals.api import Inbound  # noqa: PLC0415  brings aiohttp

        inbound = Inbound(page, page.approvers, self._log, self._whose)
        try:
            await inbound.start(self._sockets)
            self._log.event("the approvals page is served", page_port=self.open())
            await asyncio.Event().wait()
        finally:
            self._sockets = []
            await inbound.close()


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
