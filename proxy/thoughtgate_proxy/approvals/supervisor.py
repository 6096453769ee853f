"""What ends approvals by itself: time, and another configuration; and how long they are kept."""

import asyncio
from collections.abc import Callable

from thoughtgate_proxy.approvals.background import BackgroundTasks
from thoughtgate_proxy.approvals.clock import Clock
from thoughtgate_proxy.approvals.dispatcher import reconsidered
from thoughtgate_proxy.approvals.notifier import Notifier
from thoughtgate_proxy.approvals.registry import ApprovalRegistry
from thoughtgate_proxy.core.approval import Ending, State, Transition
from thoughtgate_proxy.core.policy.decision import Denial
from thoughtgate_proxy.core.policy.engine import PolicyEngine

_DISK_AGAIN_SECONDS = 5.0
_LONGEST_SLEEP_SECONDS = 30.0
_FORGET_SECONDS = 60.0


class Supervisor:
    """Looks after the approvals of a process from its start to its end."""

    def __init__(
        self,
        registry: ApprovalRegistry,
        notifier: Notifier,
        clock: Clock,
        engine: Callable[[], PolicyEngine],
        tasks: BackgroundTasks,
    ) -> None:
        """`engine` gives the configuration in force."""
        self._registry, self._notifier, self._clock = registry, notifier, clock
        self._engine, self._tasks = engine, tasks
        self._resumed = False

    async def start(self) -> None:
        """Take up what an earlier process left, and look after it from now on."""
        self._notifier.make_channels()
        await self._resume()
        self._tasks.start(self._keep_time())

    def reloaded(self) -> None:
        """Another configuration is in force: end what it forbids, and ask where it asks now."""
        self._notifier.make_channels()
        self._tasks.start(self._reconsider())

    async def _resume(self) -> None:
        """Go on with what the store had, as soon as it could be opened."""
        await self._registry.ready()
        if self._resumed or self._registry.key is None:
            return
        self._resumed = True
        for approval in self._registry.every():
            if not approval.state.final or approval.notified is not approval.state:
                self._notifier.follow(approval)
        self._tasks.start(self._reconsider())

    async def _reconsider(self) -> None:
        """End what the configuration in force would not let through."""
        for approval in self._registry.open():
            if self._registry.key is None or approval.state is State.SENDING:
                continue
            answer = reconsidered(approval, self._engine(), asyncio.get_running_loop().time())
            if isinstance(answer, Denial):
                await self._registry.end(
                    approval.id, Transition.CANCEL, answer.ending, answer.reason
                )

    async def _keep_time(self) -> None:
        """End what is due, and forget what is old."""
        forgotten = self._clock.now()
        while True:
            self._registry.changes.clear()
            await self._resume()
            now = self._clock.now()
            for approval in self._registry.open():
                if approval.state is State.PENDING and approval.expires <= now:
                    await self._registry.end(approval.id, Transition.EXPIRE, Ending.TIMED_OUT)
                elif approval.state is State.APPROVED and (approval.valid_until or 0.0) <= now:
                    await self._registry.end(approval.id, Transition.EXPIRE, Ending.NOT_USED)
            if now >= forgotten + _FORGET_SECONDS:
                forgotten = now
                await self._registry.forget()
            timer = self._clock.call_later(self._until_due(), self._registry.changes.set)
            try:
                await self._registry.changes.wait()
            finally:
                timer.cancel()

    def _until_due(self) -> float:
        now = self._clock.now()
        due = [
            approval.expires if approval.state is State.PENDING else approval.valid_until or now
            for approval in self._registry.open()
            if approval.state is not State.SENDING
        ]
        wait = min(due, default=now + _LONGEST_SLEEP_SECONDS) - now
        # What is overdue could not be written.
        return min(wait, _LONGEST_SLEEP_SECONDS) if wait > 0 else _DISK_AGAIN_SECONDS
