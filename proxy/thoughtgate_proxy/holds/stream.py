"""One request that waits on its own stream: for a human first, then for the server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from thoughtgate_proxy.approvals.channels.channel import StoreUnavailable
from thoughtgate_proxy.approvals.dispatcher import Closed, DispatchOutcome
from thoughtgate_proxy.approvals.service import ApprovalService, Attendance
from thoughtgate_proxy.core.approval import Approval, State
from thoughtgate_proxy.core.policy.permit import Permit
from thoughtgate_proxy.core.protocol import headers
from thoughtgate_proxy.core.protocol.http import HttpReply
from thoughtgate_proxy.core.protocol.message import Id
from thoughtgate_proxy.holds import server_messages
from thoughtgate_proxy.holds.in_flight import InFlight, Key, key
from thoughtgate_proxy.holds.round_trips import Turn
from thoughtgate_proxy.holds.server_call import ServerCall
from thoughtgate_proxy.mcp import answers, approval_texts, raw_json, rewrite
from thoughtgate_proxy.mcp.answers import Addressee
from thoughtgate_proxy.mcp.sse import comment, event

_T = TypeVar("_T")

KEEP_ALIVE_SECONDS: Final = 15.0
HEADERS: Final = (
    ("content-type", headers.EVENT_STREAM),
    ("cache-control", "no-cache, no-transform"),
    ("x-accel-buffering", "no"),
)
_OPENING: Final = comment(b"held by ThoughtGate until a human decides")
_FORGOTTEN: Final = (
    "the request for approval is not known any more: the same call asks the approvers anew"
)
_ALIVE: Final = comment(b"still held by ThoughtGate")


@dataclass(frozen=True, slots=True)
class Waiter:
    """Who waits on the stream.

    `seconds` is how long at most (None: to the end); then `turn` sends the client round. `task` is
    the task of revision 2025-11-25 whose result is waited for. A `polite` one may leave without
    that counting: in the earlier revisions a disconnect is not a cancel.
    """

    to: Addressee
    session: str | None
    credential: str
    token: rewrite.Token | None
    seconds: float | None = None
    turn: Turn | None = None
    task: str | None = None
    polite: bool = False

    @property
    def came_before(self) -> bool:
        """Whether what it gets is its own, even if another request of it carried the call."""
        return self.task is not None or (self.turn is not None and self.turn.number > 1)


class HoldContext:
    """What all held requests have in common."""

    def __init__(self, desk: ApprovalService, now: Callable[[], float]) -> None:
        """`now` is Unix time in seconds, as the desk's."""
        self.desk, self.now = desk, now
        self.callers = InFlight()
        self.sending: dict[str, ServerCall] = {}
        """What is being sent, by the id of its approval."""

    async def send(self, approval: str, carrier: ServerCall, permit: Permit) -> bytes | None:
        """Send an approved call; others may listen to its server meanwhile."""
        self.sending[approval] = carrier
        try:
            return await carrier.send(permit)
        finally:
            del self.sending[approval]


class HeldStream:
    """The stream of one request."""

    # There may be a thousand of them.
    __slots__ = (
        "_approval", "_attendance", "_awaited", "_carrier", "_carriers", "_desk", "_heard",
        "_present", "_progress", "_shared", "_waiter", "_withdrawn",
    )  # fmt: skip

    def __init__(
        self,
        shared: HoldContext,
        approval: Approval,
        waiter: Waiter,
        carriers: Callable[[Approval], ServerCall],
    ) -> None:
        """`carriers` gives who would send the call."""
        self._shared, self._desk = shared, shared.desk
        self._approval, self._waiter, self._carriers = approval, waiter, carriers
        self._progress = rewrite.Progress(waiter.token)
        self._awaited: asyncio.Future[Any] | None = None
        self._carrier: ServerCall | None = None
        self._heard: ServerCall | None = None
        self._withdrawn = False
        self._present: AbstractContextManager[Attendance] | None = shared.desk.attending(
            approval.id
        )
        self._attendance = self._present.__enter__()
        shared.callers.enter(self)

    @property
    def key(self) -> Key:
        """How its client names it."""
        return key(self._waiter.session, self._waiter.to.id)

    @property
    def credential(self) -> str:
        """Whose it is."""
        return self._waiter.credential

    def reply(self) -> HttpReply:
        """The reply, whose body tells that it is alive until there is an answer."""
        return HttpReply(200, HEADERS, self._events(), self.close)

    def take_back(self) -> None:
        """The client does not want it any more: it ends without an answer."""
        self._withdrawn = True
        if self._awaited is not None:
            self._awaited.cancel()

    def close(self) -> None:
        """The stream has ended, or its client has gone. Twice does no harm."""
        if self._awaited is not None:
            self._awaited.cancel()
        if self._heard is not None:
            self._heard.leave()
            self._heard = None
        if self._carrier is not None and self._carrier.stream is not None:
            self._carrier.stream.close()
        present, self._present = self._present, None
        if present is not None:
            if self._waiter.polite and not self._withdrawn:
                self._attendance.answered()
            present.__exit__(None, None, None)
            self._shared.callers.leave(self)

    async def _events(self) -> AsyncIterator[bytes]:
        approval, to = self._approval, self._waiter.to
        end = None if self._waiter.seconds is None else self._shared.now() + self._waiter.seconds
        try:
            yield self._alive(_OPENING)
            while approval.state is State.PENDING:
                left = self._left(end)
                if left <= 0:
                    yield self._sent_round(approval)
                    return
                approval = await self._await(self._desk.settled(approval.id, left))
                if approval.state is State.PENDING:
                    yield self._alive()
            async for piece in self._decided(approval, end):
                yield piece
        except Closed:
            yield self._say(approval_texts.restarting(approval, to.subject))
            self._attendance.answered()
        except KeyError:
            yield event(answers.error(to.id, approval_texts.FORGOTTEN, _FORGOTTEN))
        except StoreUnavailable as error:
            text = f"what became of {to.subject} cannot be read now ({error}): try again"
            yield event(answers.error(to.id, approval_texts.STORE_BROKEN, text))
            self._attendance.answered()
        except asyncio.CancelledError:
            if not self._withdrawn:
                raise
        finally:
            self.close()

    async def _decided(self, approval: Approval, end: float | None) -> AsyncIterator[bytes]:
        """The way of a call that is pending no more."""
        carrier = self._carrier = self._carriers(approval)
        send = partial(self._shared.send, approval.id, carrier)
        sending = asyncio.ensure_future(
            self._desk.dispatcher.dispatch(approval.id, self._waiter.credential, send)
        )
        said = server_messages.said(
            sending,
            lambda: self._listen(carrier),
            partial(self._passed, carrier),
            lambda: self._left(end),
            self._await,
        )
        async for heard in said:
            yield self._alive() if heard is None else heard
        if not sending.done():
            yield self._sent_round(approval)
            return
        async for piece in self._answer(sending.result(), carrier):
            yield piece

    def _listen(self, ours: ServerCall) -> ServerCall:
        """Whoever sends the call: we do, unless another request came first."""
        other = self._shared.sending.get(self._approval.id, ours)
        if other is not self._heard and not other.listened:
            if self._heard is not None:
                self._heard.leave()
            other.listened, self._heard = True, other
        return self._heard or ours

    def _passed(self, ours: ServerCall, message: raw_json.Raws) -> bytes | None:
        self._progress.theirs = self._listen(ours).sent_token
        if self._waiter.task is not None:
            related = rewrite.related(bytes(raw_json.encoded(message)), self._waiter.task)
            message = raw_json.members(related) or message
        return server_messages.as_event(message, self._progress)

    async def _answer(self, outcome: DispatchOutcome, carrier: ServerCall) -> AsyncIterator[bytes]:
        approval, subject = outcome.approval, self._waiter.to.subject
        if approval.state is State.DONE:
            if carrier.stream is not None:
                self._attendance.answered()
                await self._desk.delivered(approval.id)
                async for piece in self._stream(carrier.stream, carrier.sent_id):
                    yield piece
                return
            response = outcome.result or carrier.response
            if response is not None:
                yield self._response(response, outcome)
            else:
                yield self._say(approval_texts.ended(approval, subject))
        elif not approval.state.final:
            yield self._say(approval_texts.not_sent(approval, subject, outcome.not_sent or ""))
            self._attendance.answered()
            return
        else:
            yield self._say(approval_texts.ended(approval, subject))
        # Whoever writes the stream comes here once the last piece is written.
        self._attendance.answered()
        await self._desk.delivered(approval.id)

    def _response(self, response: bytes, outcome: DispatchOutcome) -> bytes:
        if self._waiter.turn is not None and rewrite.asks_back(response):
            response = self._waiter.turn.wrapped(outcome.approval, response)
        if outcome.shared and not self._waiter.came_before:
            response = rewrite.shared(response, outcome.approval.id)
        return event(self._of_task(rewrite.answered(response, self._waiter.to.id)))

    async def _stream(self, reply: HttpReply, sent: Id | None) -> AsyncIterator[bytes]:
        """A subscription's stream, for as long as both sides have it."""
        assert not isinstance(reply.body, bytes)  # noqa: S101  a stream that goes on
        async for piece in rewrite.subscribed(reply.body, sent, self._waiter.to.id):
            yield piece

    def _of_task(self, message: bytes) -> bytes:
        return rewrite.related(message, self._waiter.task) if self._waiter.task else message

    def _say(self, sentence: approval_texts.ApprovalText) -> bytes:
        said = answers.told(self._waiter.to, sentence.code, sentence.text, sentence.facts)
        return event(self._of_task(said))

    def _sent_round(self, approval: Approval) -> bytes:
        turn = self._waiter.turn
        assert turn is not None  # noqa: S101  who has an end knows what comes then
        self._attendance.answered()
        return event(turn.sent_round(self._waiter.to, approval))

    def _alive(self, said: bytes = _ALIVE) -> bytes:
        until = approval_texts.clock(self._approval.expires)
        step = self._progress.waiting(f"waiting for a human's approval until {until}")
        return said + step if step is not None else said

    def _left(self, end: float | None) -> float:
        if end is None:
            return KEEP_ALIVE_SECONDS
        return min(KEEP_ALIVE_SECONDS, end - self._shared.now())

    def sent_id(self) -> Id | None:
        """The id with which its call went to the server, once it has."""
        carrier = self._shared.sending.get(self._approval.id)
        return carrier.sent_id if carrier is not None else None

    async def _await(self, what: Awaitable[_T]) -> _T:
        """Wait for something; the client may take its request back meanwhile."""
        if self._withdrawn:
            raise asyncio.CancelledError
        self._awaited = awaited = asyncio.ensure_future(what)
        try:
            return await awaited
        finally:
            self._awaited = None
