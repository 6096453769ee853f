"""The approvals page of a process: port 7468, from the first workflow on that asks there.

aiohttp comes with the page, and is loaded only then.
"""

import asyncio
import socket

from thoughtgate_proxy.approvals.channels.page.channel import PageChannel
from thoughtgate_proxy.core.policy.identity import Identity
from thoughtgate_proxy.listeners.sockets import bound
from thoughtgate_proxy.runtime.settings import LOOPBACK
from thoughtgate_proxy.telemetry.log import Log


class ApprovalsPage:
    """The page's port."""

    def __init__(self, port: int, who: Identity, log: Log) -> None:
        self._port, self._log = port, log
        self._pod = {"principal": who.agent, "namespace": who.namespace, "pod": who.pod}
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
        from thoughtgate_proxy.listeners.approvals.api import ApprovalsApi  # noqa: PLC0415  brings aiohttp

        api = ApprovalsApi(page, page.approvers, self._log, self._pod)
        try:
            await api.start(self._sockets)
            self._log.event("the approvals page is served", page_port=self.open())
            await asyncio.Event().wait()
        finally:
            self._sockets = []
            await api.close()
