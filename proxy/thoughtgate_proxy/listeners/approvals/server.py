"""The approvals page of a process: port 7468, from the first workflow on that asks there.

aiohttp comes with the page, and is loaded only then.
"""

import asyncio
import socket
import time
from pathlib import Path

from thoughtgate_proxy.approvals.channels.channel import AskFailed, Channel, Docket
from thoughtgate_proxy.approvals.channels.page.channel import PageChannel
from thoughtgate_proxy.approvals.channels.page.tokens import Approvers, Reading
from thoughtgate_proxy.core.approval import Approval
from thoughtgate_proxy.core.policy.identity import Identity
from thoughtgate_proxy.listeners.sockets import bound
from thoughtgate_proxy.runtime.settings import LOOPBACK
from thoughtgate_proxy.telemetry.log import Level, Log


class ApprovalsPage:
    """The page's port, its approvers, and the adapter that the desk asks."""

    def __init__(self, tokens: Path, port: int, who: Identity, log: Log) -> None:
        self._tokens, self._port, self._log = tokens, port, log
        self._pod = {"principal": who.agent, "namespace": who.namespace, "pod": who.pod}
        self._sockets: list[socket.socket] = []
        self.approvers: Approvers | None = None
        """Known once a workflow asks on the page."""

    def open(self) -> int:
        """Take the port, so that nobody else in the pod has it; gives it. Raises OSError."""
        if not self._sockets:
            self._sockets = bound(LOOPBACK, self._port)
        port: int = self._sockets[0].getsockname()[1]
        return port

    def asking(self, docket: Docket) -> Channel:
        """The adapter, for the desk to run."""
        self.approvers = Approvers(self._tokens, self._reread)
        return _Served(self, docket, self.approvers, self._log)

    async def serve(self, page: PageChannel, approvers: Approvers) -> None:
        """Serve the page, once `open`, until cancelled."""
        from thoughtgate_proxy.listeners.approvals.api import ApprovalsApi  # noqa: PLC0415  brings aiohttp

        api = ApprovalsApi(page, approvers, self._log, self._pod)
        try:
            await api.start(self._sockets)
            self._log.event("the approvals page is served", page_port=self.open())
            await asyncio.Event().wait()
        finally:
            self._sockets = []
            await api.close()

    def _reread(self, reading: Reading) -> None:
        level = Level.ERROR if reading.mistakes else Level.INFO
        self._log.event(
            "the approvers' tokens changed", level,
            approvers=sorted({approver.name for approver in reading.approvers}),
            **({"mistakes": reading.mistakes} if reading.mistakes else {}),
        )  # fmt: skip


class _Served(PageChannel):
    """The page that listens while it runs; it asks nobody while it cannot."""

    def __init__(self, port: ApprovalsPage, docket: Docket, approvers: Approvers, log: Log) -> None:
        super().__init__(docket, approvers, time.time)
        self._served, self._people, self._lines = port, approvers, log
        self._trouble: str | None = None

    async def ask(self, approval: Approval) -> str:
        if self._trouble is not None:
            raise AskFailed(f"the approvals page is not there: {self._trouble}", "page_port")
        return await super().ask(approval)

    async def run(self) -> None:
        try:
            self._served.open()
            self._trouble = None
            await self._served.serve(self, self._people)
        except OSError as error:
            # The desk lets us try again.
            self._trouble = error.strerror or str(error)
            told = "the approvals page cannot listen"
            self._lines.event(told, Level.ERROR, reason=self._trouble)
