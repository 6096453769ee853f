"""One request that waits on its own stream: for a human first, then for the server."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar

from thoughtgate_proxy.approvals.dispatcher import Closed, DispatchOutcome
from thoughtgate_proxy.approvals.service import Attendance
from thoughtgate_proxy.approvals.store.errors import StoreUnavailable
from thoughtgate_proxy.core.approval import Approval, State
from thoughtgate_proxy.core.protocol import headers
from thoughtgate_proxy.core.protocol.http import HttpReply
from thoughtgate_proxy.core.protocol.message import Id
from thoughtgate_proxy.holds.context import HoldContext
from thoughtgate_proxy.holds.in_flight import Key, key
from thoughtgate_proxy.holds.phase import NEXT, Phase
from thoughtgate_proxy.holds.request import HeldRequest, json_reply
from thoughtgate_proxy.holds.server_call import ServerCall
from thoughtgate_proxy.mcp import answers, approval_texts, rewrite
from thoughtgate_proxy.mcp.answers import Addressee
from thoughtgate_proxy.mcp.sse import comment, data_of, event

_T = TypeVar("_T")

KEEP_ALIVE_SECONDS: Final = 15.0
HEADERS: Final = (
    ("content-type", headers.EVENT_STREAM),
    ("cache-control", "no-cache, no-transform"),
    ("x-accel-buffering", "no"),
)
_OPENING: Final = comment(b"held by ThoughtGate until a human decides")
_KEEP_ALIVE: Final = comment(b"still held by ThoughtGate")
FORGOTTEN_TEXT: Final = (
    "the request for approval is not known any more: the same call asks the approvers anew"
)


@dataclass(frozen=True, slots=True)
class WaitTerms:
    """How a request waits.

    `seconds` is how long at most (None: to the end); then its client is sent round, `number` being
    which request it is in a row of round trips (from 1). `task` is the task of revision 2025-11-25
    whose result is waited for. With `may_leave` a disconnect is no cancel, as in the revisions
    before 2026-07-28.
    """

    number: int = 1
    seconds: float | None = None
    task: str | None = None
    may_leave: bool = False

    @property
    def came_before(self) -> bool:
        """Whether what it gets is its own, even if another request of it carried the call."""
        return self.task is not None or self.number > 1


class HeldStream:
    """The stream of one request: an iterator of its events. `NEXT` is the order of its phases."""

    # There may be a thousand of them.
    __slots__ = (
        "_approval", "_attendance", "_attending", "_awaited", "_call", "_context", "_end", "_held",
        "_listened", "_phase", "_progress", "_sending", "_subscription", "_terms", "_to",
        "credential", "key",
    )  # fmt: skip

    def __init__(
        self,
        context: HoldContext,
        held: HeldRequest,
        approval: Approval,
        to: Addressee,
        terms: WaitTerms,
    ) -> None:
        self._context, self._held, self._approval = context, held, approval
        self._to, self._terms = to, terms
        self._phase, self._end = Phase.OPENED, 0.0
        self._progress = rewrite.Progress(rewrite.progress_token(held.request.params))
        self._attending: AbstractContextManager[Attendance] | None = None
        self._attendance = Attendance()
        self._awaited: asyncio.Future[Any] | None = None
        self._sending: asyncio.Future[DispatchOutcome] | None = None
        self._call: ServerCall | None = None
        self._listened: ServerCall | None = None
        self._subscription: AsyncIterator[bytes] | None = None
        self.key: Key = key(held.header("mcp-session-id"), to.id)
        """How its client names it."""
        self.credential = held.credential
        """Whose it is."""

    def reply(self) -> HttpReply:
        """Begin: a reply whose body shows that it is alive until there is an answer."""
        if self._terms.seconds is not None:
            self._end = self._context.now() + self._terms.seconds
        self._attending = self._context.approvals.attending(self._approval.id)
        self._attendance = self._attending.__enter__()
        self._context.in_flight.enter(self)
        return HttpReply(200, HEADERS, self, self.close)

    async def answer(self) -> HttpReply:
        """Begin, and give the answer alone, for a client that takes no events."""
        reply, answer = self.reply(), None
        try:
            async for piece in self:
                if self._phase in (Phase.ANSWERED, Phase.DEFERRED):
                    answer = data_of(piece)
        finally:
            reply.close()
        return json_reply(answer) if answer is not None else HttpReply(202)

    def take_back(self) -> None:
        """The client does not want it any more: it ends without an answer."""
        if self._move(Phase.TAKEN_BACK) and self._awaited is not None:
            self._awaited.cancel()

    def sent_id(self) -> Id | None:
        """The id with which its call went to the server, once it has."""
        call = self._context.in_flight.server_calls.get(self._approval.id)
        return call.sent_id if call is not None else None

    def close(self) -> None:
        """The stream has ended, or its client has gone. Twice does no harm."""
        left = self._phase is not Phase.TAKEN_BACK
        if not self._move(Phase.ENDED):
            return
        for waiting in (self._awaited, self._sending):  # which ends our waiting, not the sending
            if waiting is not None:
                waiting.cancel()
        if self._listened is not None:
            self._listened.leave()
        if self._call is not None and self._call.subscription is not None:
            self._call.subscription.close()
        if self._attending is not None:
            if left and self._terms.may_leave:
                self._attendance.answered()
            self._attending.__exit__(None, None, None)
            self._context.in_flight.leave(self)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        """The next piece: one event, or several."""
        to = self._to
        while (step := self._STEPS.get(self._phase)) is not None:
            try:
                if piece := await step(self):
                    return piece
            except Closed:
                text = approval_texts.restarting(self._approval, to.subject)
                return self._defer(text.response(to))
            except KeyError:
                return self._defer(answers.error(to.id, approval_texts.FORGOTTEN, FORGOTTEN_TEXT))
            except StoreUnavailable as error:
                reason = f"what became of {to.subject} cannot be read now ({error}): try again"
                return self._defer(answers.error(to.id, approval_texts.STORE_BROKEN, reason))
            except asyncio.CancelledError:
                if self._phase is not Phase.TAKEN_BACK:
                    raise
        raise StopAsyncIteration

    # What each phase does next: each gives a piece, or moves on.

    async def _open(self) -> bytes:
        self._move(Phase.PENDING)
        return self._keep_alive(_OPENING)

    async def _wait_for_human(self) -> bytes | None:
        if self._approval.state is State.PENDING:
            left = self._left()
            if left <= 0:
                return self._send_round()
            settled = self._context.approvals.settled(self._approval.id, left)
            self._approval = await self._await(settled)
            if self._approval.state is State.PENDING:
                return self._keep_alive()
        self._move(Phase.SENDING)
        return None

    async def _relay(self) -> bytes | None:
        if self._sending is None:
            self._sending = self._dispatch()
        sending, left = self._sending, self._left()
        if left <= 0 and not sending.done():
            return self._send_round()
        call = self._listen()
        if messages := await self._await(call.messages(sending, left)):
            return b"".join(filter(None, [self._event(message, call) for message in messages]))
        return await self._outcome(sending.result()) if sending.done() else self._keep_alive()

    async def _pass_on(self) -> bytes | None:
        assert self._subscription is not None  # noqa: S101  with which this phase began
        piece = await self._await(anext(self._subscription, None))
        if piece is None:
            self.close()
        return piece

    async def _deliver(self) -> None:
        # Whoever writes the stream comes here once the last piece is written.
        self._attendance.answered()
        await self._context.approvals.delivered(self._approval.id)
        self.close()

    async def _finish(self) -> None:
        self.close()

    def _move(self, phase: Phase) -> bool:
        """Go on to `phase`, if it may follow."""
        allowed = phase in NEXT[self._phase]
        if allowed:
            self._phase = phase
        return allowed

    def _dispatch(self) -> "asyncio.Future[DispatchOutcome]":
        """Have the call sent, unless another request of it came first."""
        self._call = call = self._context.server_call(self._held, self._approval)
        dispatcher = self._context.approvals.dispatcher
        dispatch = dispatcher.dispatch(self._approval.id, self.credential, call.send)
        sending = asyncio.ensure_future(dispatch)
        # Nobody may be left to take its error when the client has gone.
        sending.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
        call.listen()
        self._listened = call
        return sending

    def _listen(self) -> ServerCall:
        """The call that is being sent, ours or another request's, if nobody else listens to it."""
        assert self._listened is not None  # noqa: S101  `_dispatch` came first
        call = self._context.in_flight.server_calls.get(self._approval.id, self._listened)
        if call is not self._listened and call.listen():
            self._listened.leave()
            self._listened = call
        return self._listened

    def _event(self, message: bytes, call: ServerCall) -> bytes | None:
        """A message of the server's as an event, None if it is for nobody."""
        return self._progress.passed(self._of_task(message), call.sent_token)

    async def _outcome(self, outcome: DispatchOutcome) -> bytes | None:
        assert self._call is not None  # noqa: S101  `_dispatch` came first
        approval = self._approval = outcome.approval
        if not approval.state.final:
            text = approval_texts.not_sent(approval, self._to.subject, outcome.not_sent or "")
            return self._defer(text.response(self._to))
        response = None
        if approval.state is State.DONE:
            if (subscription := self._call.subscription) is not None:
                await self._subscribe(subscription, self._call.sent_id)
                return None
            response = outcome.result or self._call.response
        if response is None:
            response = approval_texts.ended(approval, self._to.subject).response(self._to)
        else:
            response = self._response(response, shared=outcome.shared)
        self._move(Phase.ANSWERED)
        return event(self._of_task(response))

    def _response(self, response: bytes, *, shared: bool) -> bytes:
        """The server's response, as one to this request."""
        terms, approval = self._terms, self._approval.id
        if terms.task is None and rewrite.requires_input(response):
            wrap = self._context.round_trips.wrap_question
            response = wrap(self._held, approval, terms.number, response)
        if shared and not terms.came_before:
            response = rewrite.with_shared_note(response, approval)
        return rewrite.with_id(response, self._to.id)

    async def _subscribe(self, reply: HttpReply, sent_id: Id | None) -> None:
        assert not isinstance(reply.body, bytes)  # noqa: S101  a stream that goes on
        self._subscription = rewrite.with_subscription(reply.body, sent_id, self._to.id)
        self._move(Phase.STREAMING)
        self._attendance.answered()
        await self._context.approvals.delivered(self._approval.id)

    def _send_round(self) -> bytes:
        round_trips, number = self._context.round_trips, self._terms.number
        return self._defer(round_trips.input_required(self._to, self._approval, number))

    def _defer(self, answer: bytes) -> bytes:
        """Leave the approval as it is: its client may come again."""
        self._attendance.answered()
        self._move(Phase.DEFERRED)
        return event(self._of_task(answer))

    def _of_task(self, message: bytes) -> bytes:
        task = self._terms.task
        return message if task is None else rewrite.with_related_task(message, task)

    def _keep_alive(self, comment: bytes = _KEEP_ALIVE) -> bytes:
        until = approval_texts.clock(self._approval.expires)
        step = self._progress.waiting(f"waiting for a human's approval until {until}")
        return comment + step if step is not None else comment

    def _left(self) -> float:
        if self._terms.seconds is None:
            return KEEP_ALIVE_SECONDS
        return min(KEEP_ALIVE_SECONDS, self._end - self._context.now())

    async def _await(self, what: Awaitable[_T]) -> _T:
        """Wait for something; the client may take its request back meanwhile."""
        self._awaited = awaited = asyncio.ensure_future(what)
        try:
            return await awaited
        finally:
            self._awaited = None

    _STEPS: ClassVar[Mapping[Phase, Callable[["HeldStream"], Awaitable[bytes | None]]]] = {
        Phase.OPENED: _open,
        Phase.PENDING: _wait_for_human,
        Phase.SENDING: _relay,
        Phase.STREAMING: _pass_on,
        Phase.ANSWERED: _deliver,
        Phase.DEFERRED: _finish,
        Phase.TAKEN_BACK: _finish,
    }
