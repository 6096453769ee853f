"""Tells the humans of each approval, from its start to its end, over its channel."""

import asyncio
from collections.abc import Callable

from thoughtgate_proxy.approvals.audit import AuditLog
from thoughtgate_proxy.approvals.background import BackgroundTasks
from thoughtgate_proxy.approvals.channels.channel import AskFailed, Channel
from thoughtgate_proxy.approvals.queue import ApprovalQueue, Workflows
from thoughtgate_proxy.approvals.registry import ApprovalRegistry
from thoughtgate_proxy.approvals.store.errors import StoreUnavailable
from thoughtgate_proxy.core.approval import (
    Approval,
    Ending,
    NoSuchTransition,
    State,
    Transition,
)

MakeChannel = Callable[[str, ApprovalQueue], Channel]
"""Makes the channel of that name, when a workflow asks there for the first time."""

_AGAIN_SECONDS = 5.0


class Notifier:
    """Keeps the channels at work: asks each approval's humans, and says what became of it."""

    def __init__(
        self,
        registry: ApprovalRegistry,
        audit: AuditLog,
        workflows: Workflows,
        make: MakeChannel,
        tasks: BackgroundTasks,
    ) -> None:
        self._registry, self._audit, self._workflows = registry, audit, workflows
        self._make, self._tasks = make, tasks
        self._channels: dict[str, Channel] = {}
        self._following: set[str] = set()

    def make_channels(self) -> None:
        """See that each channel which a workflow asks is there, and at work."""
        for workflow in self._workflows().values():
            self._channel(workflow.adapter)

    def follow(self, approval: Approval) -> None:
        """Have the humans told of it, from here to its end."""
        if approval.id not in self._following:
            self._following.add(approval.id)
            self._tasks.start(self._follow(approval.id, self._channel(approval.asked.adapter)))

    def _channel(self, name: str) -> Channel:
        if name not in self._channels:
            queue = ApprovalQueue(name, self._registry, self._workflows)
            self._channels[name] = self._make(name, queue)
            self._tasks.start(self._run(self._channels[name]))
        return self._channels[name]

    async def _run(self, channel: Channel) -> None:
        while True:
            try:
                await channel.run()
            except Exception as error:  # noqa: BLE001  one mistake must not end all decisions
                self._audit.record.broken("", error)
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _follow(self, id: str, channel: Channel) -> None:
        try:
            approval = self._registry.get(id)
            if approval.message_ref is None and not approval.state.final:
                await self._ask(approval, channel)
            await self._update(id, channel)
        finally:
            self._following.discard(id)

    async def _update(self, id: str, channel: Channel) -> None:
        """Tell the channel of each change, until the approval has ended and the humans know."""
        known: tuple[object, ...] | None = None
        while True:
            change = self._registry.changed(id)
            try:
                approval = self._registry.get(id)
                facts = (approval.state, approval.caller_left, approval.votes)
                if known is None and approval.notified is approval.state:
                    known = facts  # an earlier process has said so
                if facts != known:
                    await channel.update(approval)
                    known = facts
                    if approval.notified is not approval.state:
                        await self._note(id, notified=approval.state)
                    continue
                if approval.state.final:
                    return
                await change
            finally:
                change.cancel()

    async def _ask(self, approval: Approval, channel: Channel) -> None:
        """Ask the humans; where that fails it ends, and they hear so: a message may stand there."""
        try:
            ref = await channel.ask(approval)
        except AskFailed as error:
            reason, kind = error.reason, error.kind
        except Exception as error:  # noqa: BLE001  a channel's mistake must not leave it pending
            self._audit.record.broken(approval.asked.correlation, error)
            reason, kind = "ThoughtGate failed at asking", "internal"
        else:
            await self._note(approval.id, message_ref=ref, notified=State.PENDING)
            self._audit.noted("announced", self._registry.get(approval.id), where=ref)
            return
        self._audit.record.metrics.errors.inc(f"approval_{kind}", "")
        await self._end(approval.id, reason)

    async def _end(self, id: str, reason: str) -> None:
        while not self._registry.get(id).state.final:
            try:
                await self._registry.step(
                    id, Transition.CANCEL, ending=Ending.NOT_TOLD, reason=reason
                )
            except NoSuchTransition:
                return
            except StoreUnavailable:
                await asyncio.sleep(_AGAIN_SECONDS)  # it times out at the latest

    async def _note(self, id: str, **changes: object) -> None:
        # Without the note the channel is asked again after a restart, and looks first.
        try:
            await self._registry.note(id, **changes)
        except StoreUnavailable as error:
            self._audit.record.log.event("an approval's note was not kept", reason=str(error))
