"""Opens approvals, waits for them, and gives what became of them."""

import asyncio
import hashlib
import hmac
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from thoughtgate_proxy.approvals.audit import AuditLog
from thoughtgate_proxy.approvals.background import BackgroundTasks
from thoughtgate_proxy.approvals.clock import Clock
from thoughtgate_proxy.approvals.dispatcher import Closed, Dispatcher
from thoughtgate_proxy.approvals.notifier import MakeChannel, Notifier
from thoughtgate_proxy.approvals.registry import ApprovalRegistry
from thoughtgate_proxy.approvals.store.errors import StoreUnavailable
from thoughtgate_proxy.approvals.supervisor import Supervisor
from thoughtgate_proxy.core.approval import (
    Approval,
    Asked,
    Call,
    Ending,
    NoSuchTransition,
    State,
    Transition,
)
from thoughtgate_proxy.core.config.values import OnDisconnect, Workflow
from thoughtgate_proxy.core.policy.engine import PolicyEngine
from thoughtgate_proxy.telemetry.record import Record

if TYPE_CHECKING:  # sqlite3 comes with it, and only where a workflow exists
    from thoughtgate_proxy.approvals.store.sqlite import Store

# All arguments that wait together; each of them is in memory.
_MOST_WAITING_BYTES = 16 << 20
# Replies that are on their way when the process ends have this long.
_LAST_SECONDS = 3.0


class OpenRefused(Exception):
    """The humans were not asked; `reason` is one line for the agent.

    `kind` is a word for the metric: `pending_approvals`, `workflow_limit`, `store` (full,
    read-only, broken), `closing`. `retry_after` is in seconds.
    """

    def __init__(self, reason: str, kind: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.kind, self.retry_after = reason, kind, retry_after


@dataclass(slots=True)
class Attendance:
    """One request of the caller that is waiting."""

    was_answered: bool = False

    def answered(self) -> None:
        """It got an answer, be it only that it shall come back."""
        self.was_answered = True


class ApprovalService:
    """Keeps the approvals of one process. All times are Unix time in seconds."""

    def __init__(
        self,
        store: "Store",
        engine: Callable[[], PolicyEngine],
        make: MakeChannel,
        record: Record,
        clock: Clock,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        """`engine` gives the configuration in force; `make` makes a channel when it is needed."""
        self._store, self._engine, self._clock = store, engine, clock
        self._random, self._audit = random_bytes, AuditLog(record)
        self._tasks = BackgroundTasks(record)
        self._registry = ApprovalRegistry(store, clock, self._audit, random_bytes)
        self._notifier = Notifier(
            self._registry, self._audit, lambda: engine().config.approval, make, self._tasks
        )
        self.dispatcher = Dispatcher(store, self._registry, clock, self._audit, engine)
        self.supervisor = Supervisor(self._registry, self._notifier, clock, engine, self._tasks)
        self._present: Counter[str] = Counter()

    @property
    def trouble(self) -> str | None:
        """Why nothing can be kept now, in one line; None if all is well."""
        return self._registry.trouble

    @property
    def attended(self) -> int:
        """How many requests of callers wait for a human now; one that is being sent is at work."""
        pending = {a.id for a in self._registry.open() if a.state is State.PENDING}
        return sum(count for id, count in self._present.items() if id in pending)

    def close(self) -> None:
        """Take nothing more: whoever waits gets `Closed`, and what is pending stays so on disk."""
        self._registry.close()
        self._tasks.cancel()

    async def finished(self) -> None:
        """Wait, after `close`, for what is being sent, and close the file."""
        await self._tasks.finished()
        await self.dispatcher.finished(_LAST_SECONDS)
        await self._registry.finished()

    async def open(self, call: Call, asked: Asked, workflow: Workflow) -> Approval:
        """Ask the humans of `workflow`, or join what the same call (its digest) asked before.

        On disk when it returns. The humans are told in the background: if they cannot be, the
        approval ends as CANCELLED with `Ending.NOT_TOLD`. What is joined may be in any state:
        PENDING, APPROVED, SENDING; a rejection of less than a minute ago; a DONE or UNKNOWN that no
        client has got yet. So go on with `settled`, then `dispatcher`, whatever comes back.
        Raises `OpenRefused`.
        """
        try:
            if self._registry.closing:
                raise OpenRefused(
                    "ThoughtGate is restarting: ask again in a moment", "closing", 2.0
                )
            await self._registry.ready()
            if self._registry.key is None:
                reason = f"no approval can be kept ({self.trouble}), so no human was asked"
                raise OpenRefused(reason, "store")
            return await self._registry.to_its_end(self._open(call, asked, workflow))
        except OpenRefused as refused:
            self._audit.refused(asked, refused.kind, refused.reason)
            raise

    async def settled(self, id: str, seconds: float) -> Approval:
        """Wait until the approval is not PENDING any more, at most `seconds`; gives what it is.

        A SENDING one counts as settled: the dispatcher waits for its end. Raises `Closed`, and
        `KeyError` if no approval has that id.
        """
        end = self._clock.now() + seconds
        while True:
            if self._registry.closing:
                raise Closed
            approval = await self._registry.find(id)
            left = end - self._clock.now()
            if approval.state is not State.PENDING or left <= 0:
                return approval
            change = self._registry.changed(id)
            timer = self._clock.call_later(left, partial(_wake, change))
            try:
                await change
            finally:
                timer.cancel()

    async def delivered(self, id: str) -> None:
        """A client has got the outcome: the same call is a new request from now on."""
        try:
            if not (await self._registry.find(id)).delivered:
                await self._registry.note(id, delivered=True)
        except (StoreUnavailable, KeyError):
            # It is given again at the worst, which is not sent again.
            return

    async def find(self, id: str) -> Approval | None:
        """An approval with its result if that is still kept; None once it is forgotten.

        Raises `StoreUnavailable`.
        """
        try:
            known = await self._registry.find(id)
        except KeyError:
            return None
        return (await self._store.find(id) or known) if known.state is State.DONE else known

    def of_caller(self, principal: str, credential: str) -> Sequence[Approval]:
        """The caller's approvals, newest first, without results: for `tasks/list`."""
        return [
            approval
            for approval in reversed(self._registry.every())
            if approval.call.principal == principal
            and hmac.compare_digest(approval.call.credential.encode(), credential.encode())
        ]

    @contextmanager
    def attending(self, id: str) -> Iterator[Attendance]:
        """While a request waits for `id`. Left without `Attendance.answered`, the caller is gone.

        When the last one leaves a PENDING or APPROVED approval, that is marked, told to the humans,
        and under `on_disconnect: cancel` cancelled. Coming back takes the mark away.
        """
        attendance = Attendance()
        self._present[id] += 1
        self._look_for(id)
        try:
            yield attendance
        finally:
            self._present[id] -= 1
            if not self._present[id]:
                del self._present[id]
                if not attendance.was_answered and not self._registry.closing:
                    self._look_for(id)

    async def cancel(self, id: str, reason: str, ending: Ending = Ending.CANCELLED) -> Approval:
        """End a PENDING or APPROVED one, by its caller's wish.

        Raises `NoSuchTransition`, `KeyError`, `StoreUnavailable`.
        """
        return await self._registry.step(id, Transition.CANCEL, ending=ending, reason=reason)

    def sign(self, payload: bytes) -> bytes:
        """The MAC (HMAC-SHA256, 32 bytes) of `payload`, with the key that the store keeps."""
        if self._registry.key is None:
            raise StoreUnavailable(self.trouble)
        return hmac.digest(self._registry.key, payload, hashlib.sha256)

    def verify(self, payload: bytes, mac: bytes) -> bool:
        """Whether `sign` made `mac` of `payload`, in this process or an earlier one."""
        return self._registry.key is not None and hmac.compare_digest(self.sign(payload), mac)

    async def spend(self, nonce: str, until: float) -> bool:
        """Use up `nonce`: True the first time only, also across restarts, until `until`.

        Raises `StoreUnavailable`.
        """
        return await self._store.spend(nonce, until)

    # Within

    async def _open(self, call: Call, asked: Asked, workflow: Workflow) -> Approval:
        async with self._registry.lock:
            if (found := self._registry.of_digest(call.digest)) is not None:
                self._audit.noted("joined", found)
                return found
            now = self._clock.now()
            self._refuse_more(call, now)
            if workflow.limit is not None:
                at = await self._store.opening(asked.workflow, workflow.limit.count)
                if at is not None and now < at + workflow.limit.seconds:
                    most, span = workflow.limit.count, workflow.limit.seconds
                    raise OpenRefused(
                        f"the workflow `{asked.workflow}` takes {most} requests in {span:g} s",
                        "workflow_limit",
                        at + span - now,
                    )
            approval = Approval(
                id=f"tg_{self._random(16).hex()}",
                call=call,
                asked=asked,
                opened=now,
                expires=now + workflow.timeout,
                required=workflow.required,
            )
            try:
                await self._registry.add(approval)
            except StoreUnavailable as error:
                raise OpenRefused(f"no human was asked: {error}", "store") from error
        self._audit.opened(approval, self._engine().config.audit.arguments, workflow)
        self._notifier.follow(approval)
        return approval

    def _refuse_more(self, call: Call, now: float) -> None:
        pending = [a for a in self._registry.open() if a.state is State.PENDING]
        most = self._engine().config.limits.pending_approvals
        waiting = sum(len(a.call.body) for a in self._registry.open()) + len(call.body)
        reason = None
        if len(pending) >= most:
            reason = f"{len(pending)} calls wait for approval already, allowed are {most}"
        elif waiting > _MOST_WAITING_BYTES:
            reason = f"the calls that wait for approval would hold {waiting} bytes together"
        if reason is not None:
            first = min((a.expires for a in pending), default=now)
            raise OpenRefused(reason, "pending_approvals", max(1.0, first - now))

    def _look_for(self, id: str) -> None:
        """Write down, if it is not so yet, whether the caller is there."""
        try:
            approval = self._registry.get(id)
        except KeyError:
            return
        left = not self._present[id]
        if approval.caller_left != left and not approval.state.final:
            self._tasks.start(self._note_presence(id))

    async def _note_presence(self, id: str) -> None:
        approval, left = self._registry.get(id), not self._present[id]
        if approval.state not in (State.PENDING, State.APPROVED) or approval.caller_left == left:
            return
        try:
            workflow = self._engine().config.approval.get(approval.asked.workflow)
            if left and workflow is not None and workflow.on_disconnect is OnDisconnect.CANCEL:
                await self._registry.end(
                    id, Transition.CANCEL, Ending.DISCONNECTED, "its caller has left"
                )
            else:
                await self._registry.note(id, caller_left=left)
                self._audit.noted("caller left" if left else "caller back", self._registry.get(id))
        except (StoreUnavailable, NoSuchTransition) as error:
            self._audit.record.log.event("the caller's leaving was not kept", reason=str(error))


def _wake(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
