"""Puts the desk and its adapters together, where a workflow needs them."""

import asyncio
import os
import random
import time
from collections.abc import Callable, Mapping
from typing import assert_never

from thoughtgate_proxy.approvals.channels.channel import Channel, Docket
from thoughtgate_proxy.approvals.channels.slack.channel import SlackChannel
from thoughtgate_proxy.approvals.channels.slack.client import Account
from thoughtgate_proxy.approvals.clock import SystemClock
from thoughtgate_proxy.approvals.service import ApprovalService
from thoughtgate_proxy.core.config.values import Adapter
from thoughtgate_proxy.core.policy.engine import PolicyEngine
from thoughtgate_proxy.core.policy.identity import Identity
from thoughtgate_proxy.holds.service import HoldService
from thoughtgate_proxy.listeners.approvals.server import ApprovalsPage
from thoughtgate_proxy.runtime.settings import Settings
from thoughtgate_proxy.telemetry.record import Record

_START_SECONDS = 3.0


class Approving:
    """The desk of the process: there from the first workflow on, for as long as the process."""

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        record: Record,
        who: Identity,
        gate: Callable[[], PolicyEngine],
        page: ApprovalsPage,
    ) -> None:
        """`gate` gives the configuration in force."""
        self._settings, self._environ = settings, environ
        self._record, self._who, self._gate = record, who, gate
        self._page = page
        self._starting: asyncio.Task[None] | None = None
        self._ready = asyncio.Event()
        self.desk: ApprovalService | None = None
        """None as long as no configuration had a workflow."""
        self.waiting: HoldService | None = None
        """How requests wait for the desk, from the same time on."""

    def reloaded(self) -> None:
        """A configuration is in force: the first one, or another."""
        if self.desk is not None:
            self.desk.reloaded()
        elif self._gate().config.approval:
            # sqlite3 comes with it: memory that only approvals need.
            from thoughtgate_proxy.approvals.store.sqlite import Store  # noqa: PLC0415

            store = Store(self._settings.state_dir)
            clock = SystemClock()
            self.desk = ApprovalService(
                store, self._gate, self._asking, self._record, clock, os.urandom
            )
            self.waiting = HoldService(self.desk, self._record, self._who, _nonce, clock.now)
            self._starting = asyncio.get_running_loop().create_task(self._start(self.desk))
            self._record.log.event("approvals are kept", folder=str(self._settings.state_dir))

    def ready(self) -> None:
        """The process serves: what would have kept it from that may come now."""
        self._ready.set()

    async def started(self) -> None:
        """Wait until what an earlier process left is known, but not for ever for a bad volume."""
        if self._starting is not None:
            await asyncio.wait({self._starting}, timeout=_START_SECONDS)

    async def _start(self, desk: ApprovalService) -> None:
        try:
            await desk.start()
        except Exception as error:  # noqa: BLE001  calls that need no approval go on
            self._record.broken("", error)

    @property
    def state(self) -> str:
        """For `/ready`: whether approvals can be kept."""
        return "none" if self.desk is None else self.desk.trouble or "kept"

    @property
    def held(self) -> int:
        """How many requests wait for a human."""
        return 0 if self.desk is None else self.desk.attended

    def close(self) -> None:
        """End the waiting; what is pending stays so on disk."""
        if self.desk is not None:
            self.desk.close()

    async def finished(self) -> None:
        """Wait for what is being sent, and close the file."""
        if self.desk is not None and self._starting is not None:
            await self._starting
            await self.desk.finished()

    def _asking(self, adapter: Adapter, docket: Docket) -> Channel:
        """The adapter of that name. The only place where adapters are registered."""
        match adapter:
            case Adapter.PAGE:
                return self._page.asking(docket)
            case Adapter.SLACK:
                settings = self._settings
                account = Account(settings.slack_token, settings.slack_api_url, self._environ)
                return SlackChannel(
                    docket, account, self._record.log, self._record.metrics, self._ready,
                    wall=time.time, now=time.monotonic, random=random.random,
                )  # fmt: skip
            case _:
                assert_never(adapter)


def _nonce() -> str:
    return os.urandom(16).hex()
