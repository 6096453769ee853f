"""One request that waits on its own stream: for a human first, then for the server."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeVar

from thoughtgate_proxy.approvals.desk import Attendance, Closed, Desk, Outcome
from thoughtgate_proxy.core import headers
from thoughtgate_proxy.core.approval import Approval, State
from thoughtgate_proxy.core.http import HttpReply
from thoughtgate_proxy.core.message import Id
from thoughtgate_proxy.core.permit import Permit
from thoughtgate_proxy.mcp import answers, raw, sentences, splice
from thoughtgate_proxy.mcp.answers import Addressee
from thoughtgate_proxy.mcp.event_stream import comment, event
from thoughtgate_proxy.waiting import relay
from thoughtgate_proxy.waiting.callers import Caller, Callers
from thoughtgate_proxy.waiting.carrier import Carrier

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

    `seconds` is how long at most (None: to the end), and `again` makes the answer that then sends
    the client round. `wrapped` makes of the server's own question the one that the client gets.
    `task` is the task of revision 2025-11-25 whose result is waited for. A `polite` one may leave
    without that counting: in the earlier revisions a disconnect is not a cancel.
    """

    to: Addressee
    session: str | None
    credential: str
    token: splice.Token | None
    seconds: float | None = None
    again: Callable[[Approval], bytes] | None = None
    wrapped: Callable[[bytes], bytes] = lambda response: response
    task: str | None = None
    polite: bool = False
    returned: bool = False
    """It was sent round before, so that what it gets is its own."""


class Shared:
    """What all held requests have in common."""

    def __init__(self, desk: Desk, now: Callable[[], float]) -> None:
        """`now` is Unix time in seconds, as the desk's."""
        self.desk, self.now = desk, now
        self.callers = Callers()
        self.sending: dict[str, Carrier] = {}
        """What is being sent, by the id of its approval."""

    async def send(self, approval: str, carrier: Carrier, permit: Permit) -> bytes | None:
        """Send an approved call; others may listen to its server meanwhile."""
        self.sending[approval] = carrier
        try:
            return await carrier.send(permit)
        finally:
            del self.sending[approval]


class Held:
    """The stream of one request."""

    def __init__(
        self, shared: Shared, approval: Approval, waiter: Waiter, carrier: Carrier
    ) -> None:
        self._shared, self._desk = shared, shared.desk
        self._approval, self._waiter, self._carrier = approval, waiter, carrier
        self._progress = splice.Progress(waiter.token)
        self._awaited: asyncio.Future[Any] | None = None
        self._heard: Carrier | None = None
        self._withdrawn = False
        self._stack = contextlib.ExitStack()
        self._attendance: Attendance = self._stack.enter_context(shared.desk.attending(approval.id))
        caller = Caller(
            waiter.to.id, waiter.session, waiter.credential, self.take_back, self._sent_id
        )
        shared.callers.enter(caller)
        self._stack.callback(shared.callers.leave, caller)

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
        if self._carrier.stream is not None:
            self._carrier.stream.close()
        if self._waiter.polite and not self._withdrawn:
            self._attendance.answered()
        self._stack.close()

    async def _events(self) -> AsyncIterator[bytes]:
        try:
            yield self._alive(_OPENING)
            async for piece in self._waiting():
                yield piece
        except asyncio.CancelledError:
            if not self._withdrawn:
                raise
        finally:
            self.close()

    async def _waiting(self) -> AsyncIterator[bytes]:
        id, approval = self._approval.id, self._approval
        seconds = self._waiter.seconds
        end = None if seconds is None else self._shared.now() + seconds
        try:
            while approval.state is State.PENDING:
                left = self._left(end)
                if left <= 0:
                    yield self._sent_round(approval)
                    return
                approval = await self._await(self._desk.settled(id, left))
                if approval.state is State.PENDING:
                    yield self._alive()
            sending = asyncio.ensure_future(
                self._desk.dispatch(
                    id, self._waiter.credential, partial(self._shared.send, id, self._carrier)
                )
            )
            said = relay.said(
                sending, self._listen, self._passed, lambda: self._left(end), self._await
            )
            async for heard in said:
                yield self._alive() if heard is None else heard
            if not sending.done():
                yield self._sent_round(approval)
                return
            outcome = sending.result()
        except Closed:
            yield self._say(sentences.restarting(approval, self._waiter.to.subject))
            self._attendance.answered()
            return
        except KeyError:
            yield event(answers.error(self._waiter.to.id, sentences.FORGOTTEN, _FORGOTTEN))
            return
        async for piece in self._answer(outcome):
            yield piece

    def _listen(self) -> Carrier:
        """Whoever sends the call: we do, unless another request came first."""
        other = self._shared.sending.get(self._approval.id, self._carrier)
        if other is not self._heard and not other.listened:
            if self._heard is not None:
                self._heard.leave()
            other.listened, self._heard = True, other
        return self._heard or self._carrier

    def _passed(self, message: raw.Raws) -> bytes | None:
        self._progress.theirs = self._listen().sent_token
        if self._waiter.task is not None:
            related = splice.related(bytes(raw.encoded(message)), self._waiter.task)
            message = raw.members(related) or message
        return relay.as_event(message, self._progress)

    async def _answer(self, outcome: Outcome) -> AsyncIterator[bytes]:
        approval, subject = outcome.approval, self._waiter.to.subject
        if approval.state is State.DONE:
            if self._carrier.stream is not None:
                self._attendance.answered()
                await self._desk.delivered(approval.id)
                async for piece in self._stream(self._carrier.stream):
                    yield piece
                return
            response = outcome.result or self._carrier.response
            if response is not None:
                yield self._response(response, outcome)
            else:
                yield self._say(sentences.ended(approval, subject))
        elif not approval.state.final:
            yield self._say(sentences.not_sent(approval, subject, outcome.not_sent or ""))
            self._attendance.answered()
            return
        else:
            yield self._say(sentences.ended(approval, subject))
        # Whoever writes the stream comes here once the last piece is written.
        self._attendance.answered()
        await self._desk.delivered(approval.id)

    def _response(self, response: bytes, outcome: Outcome) -> bytes:
        if splice.asks_back(response):
            response = self._waiter.wrapped(response)
        if outcome.shared and not self._waiter.returned:
            response = splice.shared(response, outcome.approval.id)
        return event(self._of_task(splice.answered(response, self._waiter.to.id)))

    async def _stream(self, reply: HttpReply) -> AsyncIterator[bytes]:
        """A subscription's stream, for as long as both sides have it."""
        assert not isinstance(reply.body, bytes)  # noqa: S101  a stream that goes on
        async for piece in splice.subscribed(reply.body, self._carrier.sent_id, self._waiter.to.id):
            yield piece

    def _of_task(self, message: bytes) -> bytes:
        return splice.related(message, self._waiter.task) if self._waiter.task else message

    def _say(self, sentence: sentences.Sentence) -> bytes:
        said = answers.told(self._waiter.to, sentence.code, sentence.text, sentence.facts)
        return event(self._of_task(said))

    def _sent_round(self, approval: Approval) -> bytes:
        assert self._waiter.again is not None  # noqa: S101  who has an end knows what comes then
        self._attendance.answered()
        return event(self._waiter.again(approval))

    def _alive(self, said: bytes = _ALIVE) -> bytes:
        until = sentences.clock(self._approval.expires)
        step = self._progress.waiting(f"waiting for a human's approval until {until}")
        return said + step if step is not None else said

    def _left(self, end: float | None) -> float:
        if end is None:
            return KEEP_ALIVE_SECONDS
        return min(KEEP_ALIVE_SECONDS, end - self._shared.now())

    def _sent_id(self) -> Id | None:
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
