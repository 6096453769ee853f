"""What approvals need while nobody asks: their file, an eye on the time, adapters at work."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING

from thoughtgate_proxy.approvals.audit import AuditLog
from thoughtgate_proxy.approvals.channels.channel import Channel, Docket, StoreUnavailable
from thoughtgate_proxy.approvals.clock import Clock
from thoughtgate_proxy.approvals.dispatcher import reconsidered
from thoughtgate_proxy.approvals.notifier import ChannelDocket, Notifier
from thoughtgate_proxy.approvals.registry import ApprovalRegistry
from thoughtgate_proxy.core.approval import Approval, Ending, NoSuchTransition, State, Transition
from thoughtgate_proxy.core.config.values import Adapter
from thoughtgate_proxy.core.policy.decision import Denial
from thoughtgate_proxy.core.policy.engine import PolicyEngine
from thoughtgate_proxy.telemetry.log import Level

if TYPE_CHECKING:  # sqlite3 comes with it, and only where a workflow exists
    from thoughtgate_proxy.approvals.store.sqlite import Store

_KEY_BYTES = 32
_STORE_AGAIN_SECONDS = 1.0
_ADAPTER_AGAIN_SECONDS = 5.0
_DISK_AGAIN_SECONDS = 5.0
_LONGEST_SLEEP_SECONDS = 30.0
_FORGET_SECONDS = 60.0


class Supervisor:
    """Opens the store, ends what is due, and has each approval told to its humans."""

    def __init__(
        self,
        store: "Store",
        book: ApprovalRegistry,
        audit: AuditLog,
        gate: Callable[[], PolicyEngine],
        asking: Callable[[Adapter, Docket], Channel],
        clock: Clock,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        """`gate` gives the configuration in force; `asking` makes an adapter when it is needed."""
        self._store, self._book, self._audit = store, book, audit
        self._gate, self._make, self._clock, self._random = gate, asking, clock, random_bytes
        self._herald = Notifier(book, audit)
        self._adapters: dict[Adapter, Channel] = {}
        self._following: dict[str, asyncio.Task[None]] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._sooner = asyncio.Event()
        self._opening = asyncio.Lock()
        self._tried = float("-inf")
        self.key: bytes | None = None
        """The store's secret; None until it could be opened."""
        self.trouble: str | None = "it has not been opened yet"
        """Why nothing can be kept, in one line; None if all is well."""
        self.closing = False
        book.on_change = self._changed

    async def start(self) -> None:
        """Take up what an earlier process left, and look after it until `close`."""
        self._adapt()
        await self.ready()
        self.run(self._keep_time())

    def close(self) -> None:
        """Begin to end."""
        self.closing = True
        for task in (*self._running, *self._following.values()):
            task.cancel()

    async def finished(self) -> None:
        """Wait for what `close` ends."""
        await asyncio.gather(*self._running, *self._following.values(), return_exceptions=True)

    async def ready(self) -> None:
        """Open the store if it is not open; once in a while, where it could not be."""
        if self.key is not None:
            return
        async with self._opening:
            now = asyncio.get_running_loop().time()
            if self.key is not None or self.closing or now < self._tried + _STORE_AGAIN_SECONDS:
                return
            self._tried = now
            try:
                found = await self._store.open(self._random(_KEY_BYTES), self._clock.now())
            except StoreUnavailable as error:
                self.failed(error)
                return
            if found.damaged is not None:
                self._audit.record.log.event(
                    "the file of approvals was damaged: what was pending in it is lost, and the "
                    "same calls have to ask again", Level.ERROR, moved_to=str(found.damaged),
                )  # fmt: skip
                self._audit.record.metrics.errors.inc("approvals_damaged", "")
            self._book.take(found.approvals)
            await self._resume()
            # Only now may others look: what was cut off is known as such.
            self.key, self.trouble = found.key, None
            self.reloaded()

    def reloaded(self) -> None:
        """Another configuration is in force: end what it forbids, and ask where it asks now."""
        self._adapt()
        self.run(self._reconsider())

    def follow(self, approval: Approval) -> None:
        """Have the humans told of it, from here to its end."""
        if self.closing or approval.id in self._following:
            return
        adapter = self._adapter(approval.asked.adapter)
        task = asyncio.get_running_loop().create_task(self._herald.follow(approval.id, adapter))
        self._following[approval.id] = task
        task.add_done_callback(lambda done: self._followed(approval.id, done))

    def run(self, work: Coroutine[None, None, None]) -> None:
        """Do it in the background, until `close`."""
        task = asyncio.get_running_loop().create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ran)

    async def end(self, id: str, step: Transition, ending: Ending, reason: str = "") -> None:
        """Take a step that ends it; if it has gone on meanwhile, nothing is to be done."""
        try:
            await self._book.step(id, step, ending=ending, reason=reason)
        except (NoSuchTransition, KeyError):
            return
        except StoreUnavailable as error:
            self.failed(error)

    def failed(self, error: StoreUnavailable) -> None:
        """Say that the store failed."""
        self._audit.record.log.event("approvals cannot be kept", Level.ERROR, reason=str(error))
        self._audit.record.metrics.errors.inc("approvals_store", "")
        self.trouble = str(error)

    async def _resume(self) -> None:
        for approval in self._book.open():
            if approval.state is State.SENDING:
                await self._cut_off(approval)
        for approval in self._book.every():
            if not approval.state.final or approval.told is not approval.state:
                self.follow(approval)

    async def _cut_off(self, approval: Approval) -> None:
        """An earlier process was sending it, and did not live to see its end."""
        reason = "ThoughtGate was cut off while it was being sent"
        try:
            await self._book.step(approval.id, Transition.CUT, ending=Ending.UNKNOWN, reason=reason)
        except StoreUnavailable as error:
            self.failed(error)
            self._book.assume(approval, Transition.CUT, ending=Ending.UNKNOWN, reason=reason)

    async def _reconsider(self) -> None:
        if self.key is None:
            return
        for approval in self._book.open():
            if approval.state is State.SENDING:
                continue
            answer = reconsidered(approval, self._gate(), asyncio.get_running_loop().time())
            if isinstance(answer, Denial):
                await self.end(approval.id, Transition.CANCEL, answer.ending, answer.reason)

    def _adapt(self) -> None:
        """See that each adapter which a workflow asks is there, and at work."""
        for workflow in self._gate().config.approval.values():
            self._adapter(workflow.adapter)

    def _adapter(self, name: Adapter) -> Channel:
        if name not in self._adapters:
            docket = ChannelDocket(name, self._book, lambda: self._gate().config.approval)
            self._adapters[name] = self._make(name, docket)
            self.run(self._look(self._adapters[name]))
        return self._adapters[name]

    async def _look(self, adapter: Channel) -> None:
        while True:
            try:
                await adapter.run()
            except Exception as error:  # noqa: BLE001  one mistake must not end all decisions
                self._audit.record.broken("", error)
            await asyncio.sleep(_ADAPTER_AGAIN_SECONDS)

    async def _keep_time(self) -> None:
        """End what is due, and forget what is old."""
        forgotten = self._clock.now()
        while True:
            self._sooner.clear()
            await self.ready()
            now = self._clock.now()
            for approval in self._book.open():
                if approval.state is State.PENDING and approval.expires <= now:
                    await self.end(approval.id, Transition.EXPIRE, Ending.TIMED_OUT)
                elif approval.state is State.APPROVED and (approval.valid_until or 0.0) <= now:
                    await self.end(approval.id, Transition.EXPIRE, Ending.NOT_USED)
            if now >= forgotten + _FORGET_SECONDS:
                forgotten = now
                self._book.trim()
                await self._forget(now)
            timer = self._clock.call_later(self._until_due(), self._sooner.set)
            try:
                await self._sooner.wait()
            finally:
                timer.cancel()

    def _until_due(self) -> float:
        now = self._clock.now()
        due = [
            approval.expires if approval.state is State.PENDING else approval.valid_until or now
            for approval in self._book.open()
            if approval.state is not State.SENDING
        ]
        wait = min(due, default=now + _LONGEST_SLEEP_SECONDS) - now
        # What is overdue could not be written.
        return min(wait, _LONGEST_SLEEP_SECONDS) if wait > 0 else _DISK_AGAIN_SECONDS

    async def _forget(self, now: float) -> None:
        try:
            await self._store.forget(now)
            self.trouble = None
        except StoreUnavailable as error:
            self.failed(error)

    def _changed(self) -> None:
        pending = sum(approval.state is State.PENDING for approval in self._book.open())
        self._audit.record.metrics.approvals_pending = pending
        self._sooner.set()

    def _followed(self, id: str, task: asyncio.Task[None]) -> None:
        del self._following[id]
        self._report(task)

    def _ran(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._report(task)

    def _report(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._audit.record.broken("", error)
