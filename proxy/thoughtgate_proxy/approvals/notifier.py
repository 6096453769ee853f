"""What an adapter sees and is told: its docket, and each approval from its start to its end."""

import asyncio
from collections.abc import Callable, Mapping, Sequence

from thoughtgate_proxy.approvals.audit import AuditLog
from thoughtgate_proxy.approvals.channels.channel import AskFailed, Channel, StoreUnavailable
from thoughtgate_proxy.approvals.registry import ApprovalRegistry
from thoughtgate_proxy.core.approval import (
    Approval,
    Ending,
    NoSuchTransition,
    State,
    Transition,
    Vote,
)
from thoughtgate_proxy.core.config.values import Adapter, Workflow

Workflows = Callable[[], Mapping[str, Workflow]]
"""The workflows now in force, by name."""

_AGAIN_SECONDS = 5.0


class ChannelDocket:
    """The approvals of one adapter (`approvals.adapter.Docket`)."""

    def __init__(self, adapter: Adapter, book: ApprovalRegistry, workflows: Workflows) -> None:
        self._adapter, self._book, self._workflows = adapter, book, workflows

    def workflow(self, approval: Approval) -> Workflow | None:
        """The workflow now in force under the approval's name, if it still asks this adapter."""
        found = self._workflows().get(approval.asked.workflow)
        return found if found is not None and found.adapter is self._adapter else None

    def pending(self) -> Sequence[Approval]:
        """What was asked here and nobody has settled, and what was approved and not yet used."""
        states = (State.PENDING, State.APPROVED)
        return [a for a in self._book.open() if a.state in states and self._ours(a)]

    def recent(self) -> Sequence[Approval]:
        """What was asked here and has ended lately, newest first."""
        return [a for a in self._book.recent() if self._ours(a)]

    def find(self, id: str) -> Approval | None:
        """One of those, or one that is being sent."""
        try:
            found = self._book.get(id)
        except KeyError:
            return None
        return found if self._ours(found) and found.call.body else None

    async def vote(self, id: str, vote: Vote) -> Approval:
        """Count a vote. Raises `NoSuchTransition`, `StoreUnavailable`."""
        found = self.find(id)
        workflow = None if found is None else self.workflow(found)
        if workflow is None:
            raise NoSuchTransition(f"no approval `{id}` is open here")
        return await self._book.vote(id, vote, workflow.required, workflow.valid_for)

    async def announced(self, id: str, where: str) -> None:
        """Keep a new note of where the humans were told."""
        if self.find(id) is not None:
            await self._book.note(id, announced=where)

    def _ours(self, approval: Approval) -> bool:
        return approval.asked.adapter is self._adapter


class Notifier:
    """Tells an adapter's humans of each approval: asks them, and says what became of it."""

    def __init__(self, book: ApprovalRegistry, audit: AuditLog) -> None:
        self._book, self._audit = book, audit

    async def follow(self, id: str, adapter: Channel) -> None:
        """Tell of one approval until it has ended and they know."""
        approval = self._book.get(id)
        if approval.announced is None and not approval.state.final:
            await self._ask(approval, adapter)
        told: tuple[object, ...] | None = None
        while True:
            change = self._book.changed(id)
            try:
                approval = self._book.get(id)
                seen = (approval.state, approval.caller_left, approval.votes)
                if told is None and approval.told is approval.state:
                    told = seen  # an earlier process has said so
                if seen != told:
                    await adapter.tell(approval)
                    told = seen
                    if approval.told is not approval.state:
                        await self._note(id, told=approval.state)
                    continue
                if approval.state.final:
                    return
                await change
            finally:
                change.cancel()

    async def _ask(self, approval: Approval, adapter: Channel) -> None:
        """Ask the humans; where that fails it ends, and they hear so: a message may stand there."""
        try:
            where = await adapter.ask(approval)
        except AskFailed as error:
            reason, kind = error.reason, error.kind
        except Exception as error:  # noqa: BLE001  an adapter's mistake must not leave it pending
            self._audit.record.broken(approval.asked.correlation, error)
            reason, kind = "ThoughtGate failed at asking", "internal"
        else:
            await self._note(approval.id, announced=where, told=State.PENDING)
            self._audit.noted("announced", self._book.get(approval.id), where=where)
            return
        self._audit.record.metrics.errors.inc(f"approval_{kind}", "")
        await self._end(approval.id, reason)

    async def _end(self, id: str, reason: str) -> None:
        while not self._book.get(id).state.final:
            try:
                await self._book.step(id, Transition.CANCEL, ending=Ending.NOT_TOLD, reason=reason)
            except NoSuchTransition:
                return
            except StoreUnavailable:
                await asyncio.sleep(_AGAIN_SECONDS)  # it times out at the latest

    async def _note(self, id: str, **changes: object) -> None:
        # Without the note the adapter is asked again after a restart, and looks first.
        try:
            await self._book.note(id, **changes)
        except StoreUnavailable as error:
            self._audit.record.log.event("an approval's note was not kept", reason=str(error))
