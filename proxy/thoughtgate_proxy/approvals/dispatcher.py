"""Sends an approved call, once."""

import asyncio
import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from thoughtgate_proxy.approvals.audit import AuditLog
from thoughtgate_proxy.approvals.clock import Clock
from thoughtgate_proxy.approvals.registry import ApprovalRegistry
from thoughtgate_proxy.approvals.store.errors import StoreUnavailable
from thoughtgate_proxy.core.approval import Approval, Ending, NoSuchTransition, State, Transition
from thoughtgate_proxy.core.config.values import Source
from thoughtgate_proxy.core.policy.decision import Decision, Denial
from thoughtgate_proxy.core.policy.engine import PolicyEngine
from thoughtgate_proxy.core.policy.permit import Permit
from thoughtgate_proxy.core.protocol import message
from thoughtgate_proxy.core.protocol.http import ReplyCut
from thoughtgate_proxy.core.protocol.message import Malformed, Request
from thoughtgate_proxy.telemetry.log import Level
from thoughtgate_proxy.upstream.errors import UpstreamError

if TYPE_CHECKING:  # sqlite3 comes with it, and only where a workflow exists
    from thoughtgate_proxy.approvals.store.sqlite import Store

Send = Callable[[Permit], Awaitable[bytes | None]]
"""Sends an approved call, once, with the headers of the request that carries it.

It gives the server's JSON-RPC response as the client shall have it (an error event made of a
non-2xx reply counts as one), with the id of the call's own body; None if it is too long to be kept.
It raises `UpstreamError` (`sent` tells whether a byte was written) or `ReplyCut`. It runs in a task
of the dispatcher's own, which goes on when the client has left: so it must not raise when only the
*client's* side breaks, but read the reply to its end.
"""

# A disk that fails for a moment must not make an unknown outcome of a known one.
_WRITE_AGAIN_SECONDS = (0.05, 0.5)


@dataclass(frozen=True, slots=True)
class DispatchOutcome:
    """What became of a call.

    `approval.state` says it: DONE (with `result`, None if it was too long to be kept), UNKNOWN,
    REJECTED, EXPIRED, CANCELLED (`approval.ending` and `.reason` say why), or APPROVED: no byte
    could be sent, `not_sent` says why in one line, and the approval counts until `valid_until`.
    `shared`: somebody else's request carried the call, and this is its result (with the id of the
    request whose body was sent).
    """

    approval: Approval
    result: bytes | None = None
    shared: bool = False
    not_sent: str | None = None


@dataclass(frozen=True, slots=True)
class Clearance:
    """What the gates say of a held call now: it may go to `source` once it is approved."""

    source: Source
    decisions: tuple[Decision, ...]


def reconsidered(approval: Approval, engine: PolicyEngine, now: float) -> Clearance | Denial:
    """Ask the gates again of a call that was held; `now` is monotonic. Their denial wins."""
    call, limits = approval.call, engine.config.limits
    source = next((s for s in engine.config.enabled_sources if s.id == call.source), None)
    if source is None:
        reason = f"its server `{call.source}` is not in the configuration any more"
        return Denial(Ending.RECONFIGURED, reason)
    try:
        read = message.read(call.body, max_batch=limits.batch, max_depth=limits.json_depth)
    except Malformed as error:
        return Denial(Ending.RULED_OUT, error.reason)
    if not isinstance(read, Request):
        return Denial(Ending.RULED_OUT, "it is no request")
    decisions = engine.judge(source, read, now, again=True)
    return engine.withdrawal(approval, decisions) or Clearance(source, decisions)


class Closed(Exception):
    """The proxy is ending. What is pending stays so on disk: the same call joins it later."""


class OtherCaller(Exception):
    """The request that would carry the call has another credential than the one that asked."""


class Dispatcher:
    """Makes of each approval at most one request to its server."""

    def __init__(
        self,
        store: "Store",
        registry: ApprovalRegistry,
        clock: Clock,
        audit: AuditLog,
        engine: Callable[[], PolicyEngine],
    ) -> None:
        """`engine` gives the configuration in force."""
        self._store, self._registry, self._engine = store, registry, engine
        self._clock, self._audit = clock, audit
        self._under_way: dict[str, asyncio.Task[DispatchOutcome]] = {}

    async def dispatch(self, id: str, credential: str, send: Send) -> DispatchOutcome:
        """Send the approved call by `send`, if nobody else does or did; give what became of it.

        `credential` is `core.policy.call_digest.credential` of the request that would carry it. The
        gates are asked again first. Of several who call it at once one sends, and the others get
        the shared outcome. Where the approval has ended `send` is not called, and the outcome says
        how. Cancelling the caller does not cancel the sending. Raises `Closed` (before sending),
        `OtherCaller`, `NoSuchTransition` if it is PENDING, and `KeyError` if no approval has that
        id.
        """
        approval = await self._registry.find(id)
        if not hmac.compare_digest(approval.call.credential.encode(), credential.encode()):
            raise OtherCaller
        if approval.state is State.PENDING:
            raise NoSuchTransition(f"the approval `{id}` is pending")
        if approval.state.final:
            found = await self._store.find(id) if approval.state is State.DONE else None
            return DispatchOutcome(approval, found.result if found else None, shared=True)
        if self._registry.closing and approval.state is not State.SENDING:
            raise Closed
        task, shared = self._under_way.get(id), True
        if task is None:
            shared = False
            task = asyncio.get_running_loop().create_task(self._send(id, send))
            self._under_way[id] = task
            task.add_done_callback(lambda _: self._under_way.pop(id, None))
        outcome = await asyncio.shield(task)
        return replace(outcome, shared=shared)

    async def finished(self, seconds: float) -> None:
        """Wait for what is being sent, so long at most; what is cut off is UNKNOWN."""
        if self._under_way:
            await asyncio.wait(list(self._under_way.values()), timeout=seconds)

    async def _send(self, id: str, send: Send) -> DispatchOutcome:
        try:
            return await self._send_checked(id, send)
        except NoSuchTransition:  # a rejection, or its end, came first
            return DispatchOutcome(self._registry.get(id))
        except StoreUnavailable as error:
            # Nothing is sent that is not on disk as being sent.
            return DispatchOutcome(self._registry.get(id), not_sent=str(error))

    async def _send_checked(self, id: str, send: Send) -> DispatchOutcome:
        approval = self._registry.get(id)
        if (approval.valid_until or 0.0) <= self._clock.now():
            return DispatchOutcome(
                await self._registry.step(id, Transition.EXPIRE, ending=Ending.NOT_USED)
            )
        engine, monotonic = self._engine(), asyncio.get_running_loop().time
        answer = reconsidered(approval, engine, monotonic())
        if isinstance(answer, Denial):
            return await self._refused(id, answer)
        sending = await self._registry.step(id, Transition.SEND)
        if self._engine() is not engine:  # a reload came in between
            engine = self._engine()
            answer = reconsidered(approval, engine, monotonic())
            if isinstance(answer, Denial):
                await self._registry.step(id, Transition.NOT_SENT)
                return await self._refused(id, answer)
        try:
            permit = engine.permit_approved(answer.source, sending, answer.decisions)
        except ValueError as error:
            self._audit.record.broken(sending.asked.correlation, error)
            await self._registry.step(id, Transition.NOT_SENT)
            reason = "what is on disk is not the call that was approved"
            return await self._refused(id, Denial(Ending.RULED_OUT, reason))
        try:
            result = await send(permit)
        except UpstreamError as error:
            if not error.sent:
                return DispatchOutcome(
                    await self._written(sending, Transition.NOT_SENT), not_sent=str(error)
                )
            return await self._cut(sending, str(error))
        except ReplyCut as error:
            return await self._cut(sending, str(error) or "the reply was cut short")
        except Exception as error:  # noqa: BLE001  whatever it was, nobody may send it again
            self._audit.record.broken(sending.asked.correlation, error)
            return await self._cut(sending, "ThoughtGate failed while sending it")
        done = await self._written(sending, Transition.FINISH, result=result, ending=Ending.DONE)
        return DispatchOutcome(done, result)

    async def _refused(self, id: str, no: Denial) -> DispatchOutcome:
        return DispatchOutcome(
            await self._registry.step(id, Transition.CANCEL, ending=no.ending, reason=no.reason)
        )

    async def _cut(self, sending: Approval, reason: str) -> DispatchOutcome:
        return DispatchOutcome(
            await self._written(sending, Transition.CUT, ending=Ending.UNKNOWN, reason=reason)
        )

    async def _written(self, sending: Approval, step: Transition, **changes: Any) -> Approval:
        """Write down how the sending ended; in memory alone if the disk will not have it.

        After a restart such a call is UNKNOWN, as the disk still says that it is being sent.
        """
        for seconds in (*_WRITE_AGAIN_SECONDS, None):
            try:
                return await self._registry.step(sending.id, step, **changes)
            except StoreUnavailable as error:
                changes.pop("result", None)  # which may be what there is no room for
                if seconds is None:
                    self._audit.record.log.event(
                        "the end of an approved call could not be written down", Level.ERROR,
                        approval=sending.id, reason=str(error),
                    )  # fmt: skip
                    break
                await asyncio.sleep(seconds)
        if step is Transition.NOT_SENT:
            # The disk says `sending`, so it could never be sent by us.
            step, changes = Transition.CUT, {"ending": Ending.UNKNOWN, "reason": "nothing was sent"}
        return self._registry.assume(sending, step, **changes)
