"""Puts approvals together with their channels, where a workflow needs them."""

import asyncio
import os
from collections.abc import Callable, Mapping

from thoughtgate_proxy.approvals.channels.channel import (
    Channel,
    ChannelContext,
    ChannelReport,
    ChannelSettings,
    ChannelType,
    check_channels,
)
from thoughtgate_proxy.approvals.clock import SystemClock
from thoughtgate_proxy.approvals.queue import ApprovalQueue
from thoughtgate_proxy.approvals.service import ApprovalService
from thoughtgate_proxy.core.config.values import Config
from thoughtgate_proxy.core.policy.engine import PolicyEngine
from thoughtgate_proxy.core.policy.identity import Identity
from thoughtgate_proxy.holds.service import HoldService
from thoughtgate_proxy.listeners.approvals.server import ApprovalsPage
from thoughtgate_proxy.runtime.settings import Settings
from thoughtgate_proxy.telemetry.record import Record

_START_SECONDS = 3.0


class Approvals:
    """The approvals of the process: there from the first workflow on, for as long as it runs."""

    def __init__(
        self,
        settings: Settings,
        channels: Mapping[str, ChannelType],
        channel_settings: ChannelSettings,
        record: Record,
        identity: Identity,
        engine: Callable[[], PolicyEngine],
        page: ApprovalsPage,
    ) -> None:
        """`engine` gives the configuration in force."""
        self._settings, self._record, self._identity = settings, record, identity
        self._engine, self._channels = engine, channels
        self._serving = asyncio.Event()
        self._context = ChannelContext(
            channel_settings, record.log, record.metrics, self._serving, page.serve
        )
        self._starting: asyncio.Task[None] | None = None
        self._made: set[str] = set()
        self.service: ApprovalService | None = None
        """None as long as no configuration had a workflow."""
        self.holds: HoldService | None = None
        """How requests wait for the service, from the same time on."""

    def check(self, config: Config) -> ChannelReport:
        """What keeps the workflows from asking, and what is unwise in them.

        The mistakes of a channel that is at work are its own affair: its settings were good once.
        """
        whole = ChannelReport()
        reports = check_channels(config, self._channels, self._context.settings)
        for name, report in reports.items():
            whole.warnings += report.warnings
            whole.mistakes += [] if name in self._made else report.mistakes
        return whole

    def needs_page(self, config: Config) -> bool:
        """Whether a workflow asks on the approvals page."""
        return any(self._channels[w.adapter].serves_page for w in config.approval.values())

    def reloaded(self) -> None:
        """A configuration is in force: the first one, or another."""
        if self.service is not None:
            self.service.supervisor.reloaded()
        elif self._engine().config.approval:
            # sqlite3 comes with it: memory that only approvals need.
            from thoughtgate_proxy.approvals.store.sqlite import Store  # noqa: PLC0415

            folder, clock = self._settings.state_dir, SystemClock()
            self.service = ApprovalService(
                Store(folder), self._engine, self._make, self._record, clock, os.urandom
            )
            self.holds = HoldService(self.service, self._record, self._identity, _nonce, clock.now)
            self._starting = asyncio.get_running_loop().create_task(self._start(self.service))
            self._record.log.event("approvals are kept", folder=str(folder))

    def ready(self) -> None:
        """The process serves: what would have kept it from that may come now."""
        self._serving.set()

    async def started(self) -> None:
        """Wait until what an earlier process left is known, but not for ever for a bad volume."""
        if self._starting is not None:
            await asyncio.wait({self._starting}, timeout=_START_SECONDS)

    async def _start(self, service: ApprovalService) -> None:
        try:
            await service.supervisor.start()
        except Exception as error:  # noqa: BLE001  calls that need no approval go on
            self._record.broken("", error)

    @property
    def state(self) -> str:
        """For `/ready`: whether approvals can be kept."""
        return "none" if self.service is None else self.service.trouble or "kept"

    @property
    def held(self) -> int:
        """How many requests wait for a human."""
        return 0 if self.service is None else self.service.attended

    def close(self) -> None:
        """End the waiting; what is pending stays so on disk."""
        if self.service is not None:
            self.service.close()

    async def finished(self) -> None:
        """Wait for what is being sent, and close the file."""
        if self.service is not None and self._starting is not None:
            await self._starting
            await self.service.finished()

    def _make(self, name: str, queue: ApprovalQueue) -> Channel:
        self._made.add(name)
        return self._channels[name].make(queue, self._context)


def _nonce() -> str:
    return os.urandom(16).hex()
