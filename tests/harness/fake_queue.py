"""The one queue that tests of channels use: the real registry and its rules, kept in memory.

Only the file and the notifier are others. `tests/proxy/approvals/test_queue.py` holds this to the
service on its real store.
"""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final, cast

from tests.harness.log import Lines
from tests.harness.policy import AGENT
from thoughtgate_proxy.approvals.audit import AuditLog
from thoughtgate_proxy.approvals.channels.channel import AskFailed, Channel
from thoughtgate_proxy.approvals.clock import Clock
from thoughtgate_proxy.approvals.queue import ApprovalQueue
from thoughtgate_proxy.approvals.registry import ApprovalRegistry
from thoughtgate_proxy.approvals.store.errors import StoreUnavailable
from thoughtgate_proxy.approvals.store.sqlite import Store
from thoughtgate_proxy.core.approval import Approval, Ending, Transition, Vote, after
from thoughtgate_proxy.core.config.values import Workflow
from thoughtgate_proxy.core.policy.identity import from_words
from thoughtgate_proxy.telemetry.metrics import Metrics
from thoughtgate_proxy.telemetry.record import Record

# A disk takes its time, and adapters are at work meanwhile.
_DISK_SECONDS = 0.002
ENDINGS: Final = {
    Transition.EXPIRE: Ending.TIMED_OUT,
    Transition.CANCEL: Ending.CANCELLED,
    Transition.REJECT: Ending.REJECTED,
    Transition.FINISH: Ending.DONE,
    Transition.CUT: Ending.UNKNOWN,
}


class MemoryStore:
    """What a registry needs of `approvals.store.Store`; while `trouble` says why, nothing is kept.

    The registry alone writes, one change at a time, and has what it wrote: nothing to compare.
    """

    def __init__(self) -> None:
        self.trouble: str | None = None

    async def add(self, _: Approval) -> None:
        """Keep a new one. Raises `StoreUnavailable`."""
        await self._write()

    async def step(
        self,
        approval: Approval,
        step: Transition,
        *,
        vote: Vote | None = None,
        result: bytes | None = None,  # noqa: ARG002  no adapter sees it
        **changes: Any,
    ) -> Approval:
        """Take it one step on. Raises `NoSuchStep`, `StoreUnavailable`."""
        return await self._change(approval, vote, state=after(approval.state, step), **changes)

    async def note(
        self, approval: Approval, *, vote: Vote | None = None, **changes: Any
    ) -> Approval:
        """Change what is no state. Raises as `step` does."""
        return await self._change(approval, vote, **changes)

    async def _change(self, old: Approval, vote: Vote | None, **changes: Any) -> Approval:
        new = replace(old, **changes)
        if vote is not None:
            new = new.voted(vote)
        await self._write()
        return new

    async def _write(self) -> None:
        await asyncio.sleep(_DISK_SECONDS)
        if self.trouble is not None:
            raise StoreUnavailable(f"the store of approvals: {self.trouble}")


class FakeQueue(ApprovalQueue):
    """The queue of one channel, and what a service does with it, each to its end before it returns.

    `workflows` are those in force, and may be changed.
    """

    def __init__(self, adapter: str, workflows: Mapping[str, Workflow], clock: Clock) -> None:
        self.clock, self.store, self.workflows = clock, MemoryStore(), dict(workflows)
        self.log = Lines()
        audit = AuditLog(Record(self.log, Metrics(), from_words(AGENT, "agents", "pod")))
        super().__init__(
            adapter,
            ApprovalRegistry(cast(Store, self.store), clock, audit, os.urandom),
            lambda: self.workflows,
        )
        self._asking: Channel | None = None

    def attach(self, asking: Channel | None) -> None:
        """Let that adapter be asked and told from now on; None: nobody."""
        self._asking = asking

    @property
    def votes(self) -> list[Vote]:
        """All that have been counted."""
        return [vote for approval in self._registry.every() for vote in approval.votes]

    def get(self, id: str) -> Approval:
        """It, whoever is asked and whatever became of it. Raises `KeyError`."""
        return self._registry.get(id)

    async def open(self, approval: Approval) -> Approval:
        """Ask for a new one. Raises `AskFailed`, and then it has ended."""
        async with self._registry.lock:
            await self._registry.add(approval)
        return await self._ask(approval.id)

    async def ask_again(self, id: str) -> Approval:
        """As after a kill between the question and the note of it."""
        await self._registry.note(id, message_ref=None)
        return await self._ask(id)

    async def step(self, id: str, step: Transition, **changes: Any) -> Approval:
        """Let something happen to one. Raises as the registry does."""
        if step in ENDINGS:
            changes = {"ending": ENDINGS[step], **changes}
        return await self._tell(await self._registry.step(id, step, **changes))

    async def vote(self, id: str, vote: Vote) -> Approval:
        """Count it as the service does, and tell the channel of what changed."""
        before = self._registry.get(id) if self.find(id) is not None else None
        voted = await super().vote(id, vote)
        return voted if voted is before else await self._tell(voted)

    async def _ask(self, id: str) -> Approval:
        if self._asking is None:
            return self._registry.get(id)
        try:
            where = await self._asking.ask(self._registry.get(id))
        except AskFailed as error:
            await self.step(id, Transition.CANCEL, ending=Ending.NOT_TOLD, reason=error.reason)
            raise
        return await self._registry.note(id, message_ref=where)

    async def _tell(self, approval: Approval) -> Approval:
        if self._asking is not None:
            await self._asking.update(approval)
        return approval
