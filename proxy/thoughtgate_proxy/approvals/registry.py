"""The approvals of this process: each change compared and set on disk, then in memory."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from thoughtgate_proxy.approvals.audit import AuditLog
from thoughtgate_proxy.approvals.clock import Clock
from thoughtgate_proxy.approvals.store.errors import StoreUnavailable
from thoughtgate_proxy.core.approval import (
    KEPT_SECONDS,
    REJECTED_SECONDS,
    Approval,
    Ending,
    NoSuchTransition,
    State,
    Transition,
    Vote,
    VoteValue,
    after,
)

if TYPE_CHECKING:  # sqlite3 comes with it, and only where a workflow exists
    from thoughtgate_proxy.approvals.store.sqlite import Store

# What ended lately is kept in memory with its arguments, for those who look.
_RECENT, _RECENT_BYTES = 50, 2 << 20
_KEY_BYTES = 32
_STORE_AGAIN_SECONDS = 1.0
_T = TypeVar("_T")


class ApprovalRegistry:
    """All changes go through here, one at a time: on disk, then in memory, then to who waits."""

    def __init__(
        self,
        store: "Store",
        clock: Clock,
        audit: AuditLog,
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self._store, self._clock, self._audit = store, clock, audit
        self._random = random_bytes
        self._all: dict[str, Approval] = {}
        self._unsettled: dict[str, Approval] = {}
        self._by_digest: dict[str, str] = {}
        self._waiting: defaultdict[str, set[asyncio.Future[None]]] = defaultdict(set)
        self.lock = asyncio.Lock()
        """Held while anything changes."""
        self.changes = asyncio.Event()
        """Set at each change of any of them; who waits for it clears it."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._opening = asyncio.Lock()
        self._tried = float("-inf")
        self.key: bytes | None = None
        """The store's secret; None until it could be opened."""
        self.trouble: str | None = "it has not been opened yet"
        """Why nothing can be kept, in one line; None if all is well."""
        self.closing = False

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
                self._audit.damaged(found.damaged)
            for approval in found.approvals:
                self._put(approval)
            for approval in self.open():
                if approval.state is State.SENDING:
                    await self._cut_off(approval)
            # Only now may others look: what was cut off is known as such.
            self.key, self.trouble = found.key, None

    def close(self) -> None:
        """Take nothing more: whoever waits looks again, and finds `closing`."""
        self.closing = True
        for id in list(self._waiting):
            self._wake(id)

    async def finished(self) -> None:
        """Wait for what was begun, and close the file."""
        while self._tasks:
            await asyncio.wait(self._tasks)
        await self._store.close()

    def failed(self, error: StoreUnavailable) -> None:
        """Say that the store failed."""
        self._audit.store_failed(str(error))
        self.trouble = str(error)

    def get(self, id: str) -> Approval:
        """One approval, without its result. Raises `KeyError`."""
        return self._all[id]

    async def find(self, id: str) -> Approval:
        """One approval, from memory, else from the disk. Raises `KeyError`, `StoreUnavailable`."""
        await self.ready()
        try:
            return self._all[id]
        except KeyError:
            found = await self._store.find(id) if self.key is not None else None
            if found is None:
                raise
            return found

    def every(self) -> Sequence[Approval]:
        """All that are in memory, oldest first."""
        return tuple(self._all.values())

    def open(self) -> Sequence[Approval]:
        """Those that can still come to something, oldest first."""
        return tuple(self._unsettled.values())

    def recent(self) -> Sequence[Approval]:
        """Those that ended lately, newest first, with their arguments."""
        ended = [a for a in self._all.values() if a.state.final and a.call.body]
        return sorted(ended, key=lambda a: a.ended or a.opened, reverse=True)[:_RECENT]

    def of_digest(self, digest: str) -> Approval | None:
        """What the same call joins, if there is such a thing."""
        found = self._all.get(self._by_digest.get(digest, ""))
        if found is None:
            return None
        ago = self._clock.now() - (found.ended or 0.0)
        match found.state:
            case State.PENDING:
                joins = found.expires > self._clock.now()
            case State.APPROVED:
                joins = (found.valid_until or 0.0) > self._clock.now()
            case State.SENDING:
                joins = True
            case State.REJECTED:
                joins = ago < REJECTED_SECONDS
            case State.DONE | State.UNKNOWN:
                joins = not found.delivered and ago < KEPT_SECONDS
            case _:
                joins = False
        return found if joins else None

    def changed(self, id: str) -> "asyncio.Future[None]":
        """Done at the next change of `id`, or when `close` is called."""
        future = asyncio.get_running_loop().create_future()
        self._waiting[id].add(future)
        future.add_done_callback(lambda done: self._forget_waiter(id, done))
        return future

    async def add(self, approval: Approval) -> None:
        """A new one; the lock is held. Raises `StoreUnavailable`."""
        try:
            await self._store.add(approval)
        except StoreUnavailable as error:
            self.failed(error)
            raise
        self.trouble = None
        self._put(approval)

    async def step(
        self,
        id: str,
        step: Transition,
        *,
        result: bytes | None = None,
        **changes: Any,
    ) -> Approval:
        """Take one step, with other changes.

        Raises `NoSuchTransition`, `KeyError` or `StoreUnavailable`, and then nothing has changed.
        """

        async def work() -> Approval:
            async with self.lock:
                return await self._step(self._all[id], step, changes, result=result)

        return await self.to_its_end(work())

    async def end(self, id: str, step: Transition, ending: Ending, reason: str = "") -> None:
        """Take a step that ends it; if it has gone on meanwhile, nothing is to be done."""
        try:
            await self.step(id, step, ending=ending, reason=reason)
        except (NoSuchTransition, KeyError):
            return
        except StoreUnavailable as error:
            self.failed(error)

    async def vote(self, id: str, vote: Vote, required: int, valid_for: float) -> Approval:
        """Count a vote; `required` approvers approve, one rejection ends it. Raises as `step`."""

        async def work() -> Approval:
            async with self.lock:
                old = self._all[id]
                if not old.state.final and any(_same(v, vote) for v in old.votes):
                    return old  # seen already, as whoever looks again and again will
                if old.state is State.PENDING and old.expires <= self._clock.now():
                    raise NoSuchTransition(f"the approval `{id}` has timed out")
                changes: dict[str, Any] = {"required": max(old.required, required)}
                if vote.verdict is VoteValue.REJECT:
                    changes |= {"reason": vote.reason, "ending": Ending.REJECTED}
                    return await self._step(old, Transition.REJECT, changes, vote=vote)
                if old.state is State.PENDING and replace(old.voted(vote), **changes).enough:
                    changes["valid_until"] = self._clock.now() + valid_for
                    return await self._step(old, Transition.APPROVE, changes, vote=vote)
                if old.state is not State.APPROVED:
                    after(old.state, Transition.APPROVE)  # or it is too late
                new = await self._store.note(old, vote=vote, **changes)
                self._put(new)
                self._audit.voted(new, vote)
                return new

        return await self.to_its_end(work())

    async def note(self, id: str, **changes: Any) -> Approval:
        """Change what is no state. Raises `KeyError`, `StoreUnavailable`."""

        async def work() -> Approval:
            async with self.lock:
                new = await self._store.note(self._all[id], **changes)
                self._put(new)
                return new

        return await self.to_its_end(work())

    def assume(self, approval: Approval, step: Transition, **changes: Any) -> Approval:
        """Take a step in memory alone, as the disk failed after something had happened."""
        changes = self._with_times(approval, step, changes)
        new = replace(approval, state=after(approval.state, step), **changes)
        self._put(new)
        self._audit.stepped(approval, new)
        return new

    async def to_its_end(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do it to its end, even if whoever asked for it goes away."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return await asyncio.shield(task)

    async def forget(self) -> None:
        """Delete what has been kept for its time, and have in memory what is still asked for."""
        self.trim()
        try:
            await self._store.forget(self._clock.now())
            self.trouble = None
        except StoreUnavailable as error:
            self.failed(error)

    def trim(self) -> None:
        """Let go of what is only of use on disk."""
        now, size = self._clock.now(), 0
        ended = sorted(
            (a for a in self._all.values() if a.state.final),
            key=lambda a: a.ended or a.opened,
            reverse=True,
        )
        for number, approval in enumerate(ended):
            ago = now - (approval.ended or 0.0)
            size += len(approval.call.body)
            if ago >= KEPT_SECONDS:
                self._drop(approval)
            elif number >= _RECENT or size > _RECENT_BYTES:
                waited_for = (
                    approval.state in (State.DONE, State.UNKNOWN) and not approval.delivered
                ) or ago < REJECTED_SECONDS
                if waited_for:
                    self._all[approval.id] = replace(
                        approval, call=replace(approval.call, body=b"")
                    )
                else:
                    self._drop(approval)

    async def _cut_off(self, approval: Approval) -> None:
        """An earlier process was sending it, and did not live to see its end."""
        reason = "ThoughtGate was cut off while it was being sent"
        try:
            await self.step(approval.id, Transition.CUT, ending=Ending.UNKNOWN, reason=reason)
        except StoreUnavailable as error:
            self.failed(error)
            self.assume(approval, Transition.CUT, ending=Ending.UNKNOWN, reason=reason)

    async def _step(
        self,
        old: Approval,
        step: Transition,
        changes: dict[str, Any],
        *,
        vote: Vote | None = None,
        result: bytes | None = None,
    ) -> Approval:
        changes = self._with_times(old, step, changes)
        new = await self._store.step(old, step, vote=vote, result=result, **changes)
        self._put(new)
        if vote is not None:
            self._audit.voted(new, vote)
        self._audit.stepped(old, new)
        return new

    def _with_times(
        self, old: Approval, step: Transition, changes: dict[str, Any]
    ) -> dict[str, Any]:
        now = self._clock.now()
        decided = {"decided": now} if step in (Transition.APPROVE, Transition.REJECT) else {}
        return {**changes, **decided, **({"ended": now} if after(old.state, step).final else {})}

    def _put(self, approval: Approval) -> None:
        self._all[approval.id] = approval
        if approval.state.final:
            self._unsettled.pop(approval.id, None)
        else:
            self._unsettled[approval.id] = approval
        current = self._all.get(self._by_digest.get(approval.call.digest, ""))
        if current is None or current.opened <= approval.opened:
            self._by_digest[approval.call.digest] = approval.id
        self._audit.pending(sum(a.state is State.PENDING for a in self._unsettled.values()))
        self._wake(approval.id)
        self.changes.set()

    def _drop(self, approval: Approval) -> None:
        del self._all[approval.id]
        if self._by_digest.get(approval.call.digest) == approval.id:
            del self._by_digest[approval.call.digest]

    def _wake(self, id: str) -> None:
        for future in self._waiting.pop(id, ()):
            if not future.done():
                future.set_result(None)

    def _forget_waiter(self, id: str, future: "asyncio.Future[None]") -> None:
        waiting = self._waiting.get(id)
        if waiting is not None:
            waiting.discard(future)
            if not waiting:
                del self._waiting[id]

    def _done(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # whoever asked has it, if they are still there


def _same(one: Vote, other: Vote) -> bool:
    return (one.approver, one.verdict) == (other.approver, other.verdict)
