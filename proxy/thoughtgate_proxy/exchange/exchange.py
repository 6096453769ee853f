"""A permitted request's way to its server, and the reply's way back."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from thoughtgate_proxy.core.policy.decision import Decision
from thoughtgate_proxy.core.policy.engine import PolicyEngine
from thoughtgate_proxy.core.policy.permit import Permit
from thoughtgate_proxy.core.protocol import headers
from thoughtgate_proxy.core.protocol.headers import Head
from thoughtgate_proxy.core.protocol.http import HttpReply
from thoughtgate_proxy.core.protocol.message import Id, Request
from thoughtgate_proxy.core.protocol.methods import LISTINGS
from thoughtgate_proxy.core.protocol.routing import Route
from thoughtgate_proxy.exchange.reply_future import ReplyFuture
from thoughtgate_proxy.gateway.authorize import Authorizer
from thoughtgate_proxy.mcp import answers
from thoughtgate_proxy.mcp.list_changes import ListChanges
from thoughtgate_proxy.mcp.reply_filter import Expected
from thoughtgate_proxy.telemetry.record import Record
from thoughtgate_proxy.telemetry.series import Count
from thoughtgate_proxy.upstream.errors import Restarting, UpstreamError, UpstreamTimedOut
from thoughtgate_proxy.upstream.pool import UpstreamPool
from thoughtgate_proxy.upstream.response_body import UpstreamReply

_JSON = (("content-type", headers.JSON),)


@dataclass(frozen=True, slots=True, eq=False)
class Endpoint:
    """The way of all requests for one target, under the configuration that judges them."""

    route: Route
    gate: PolicyEngine
    judge: Authorizer
    upstream: UpstreamPool
    record: Record
    changes: ListChanges
    counted: dict[int, Count] = field(default_factory=dict)

    def permit(self, method: str, body: bytes = b"", decisions: Sequence[Decision] = ()) -> Permit:
        """Leave to send `body` this way, if every one of `decisions` lets it go on."""
        return self.gate.permit(self.route.source, method, self.route.target, body, decisions)

    def count(self, status: int) -> None:
        """Count a reply of the server's."""
        count = self.counted.get(status)
        if count is None:
            counter = self.record.metrics.upstream_requests
            count = self.counted[status] = counter.labelled(self.route.source.id, str(status))
        count.value += 1


class Exchange(ReplyFuture):
    """One request on its way: a future of the reply as the client may see it.

    Cancelling it closes the connection, so that the server learns that nobody waits any more. As it
    stands here the reply passes as it is; subclasses know better.
    """

    def __init__(
        self,
        way: Endpoint,
        permit: Permit,
        head: Head,
        asked: Sequence[Request] = (),
        ours: Sequence[bytes] = (),
    ) -> None:
        """Send what `permit` allows; its body holds the requests `asked`.

        `ours` are answers of our own to other members of the same batch: they join the reply.
        """
        super().__init__()
        self._way, self._asked, self._ours = way, asked, ours
        self._task: asyncio.Future[HttpReply] | None = None
        self.abandon: Callable[[], object] = _nothing
        """Gives the request up; whoever carries it sets it."""
        self._begun = time.perf_counter()
        try:
            way.upstream.send(permit, head, self)
        except UpstreamError as error:
            self.failed(error)

    def cancel(self, msg: Any = None) -> bool:
        """Give the request up: the client has gone, and the server may have acted."""
        if self.done():
            return False
        if self._task is not None:
            self._task.cancel()
        else:
            self._way.record.metrics.upstream_requests.inc(self._source_id, "none")
            self.abandon()
        return super().cancel(msg)

    def replied(self, reply: UpstreamReply) -> None:
        """The upstream has the head of the reply, and all or some of its body."""
        if self.done():
            reply.close()
            return
        way, status = self._way, reply.head.status
        way.record.upstreams[self._source_id] = "answered"
        way.record.metrics.upstream_seconds.observe(time.perf_counter() - self._begun)
        way.count(status)
        if 300 <= status < 400 and status != 304:
            reply.close()
            self.set_result(self._redirected(status))
            return
        if status == 404 and way.route.target == "/":
            way.record.hint_path(self._source_id)
        try:
            shown = self._shown(reply)
        except BaseException as error:  # noqa: BLE001  whoever awaits us is told
            reply.close()
            self.set_exception(error)
            return
        if isinstance(shown, HttpReply):
            self.set_result(shown)
            return
        self._reply, self._task = reply, asyncio.ensure_future(shown)
        self._task.add_done_callback(self._take)

    def failed(self, error: UpstreamError) -> None:
        """The upstream has no reply, and will have none."""
        if not self.done():
            metrics = self._way.record.metrics
            metrics.upstream_requests.inc(self._source_id, "none" if error.sent else "unsent")
            self._end(error)

    def _end(self, error: UpstreamError) -> None:
        """End without a reply of the server's."""
        self.set_result(self._no_reply(error))

    def _shown(self, reply: UpstreamReply) -> HttpReply | Awaitable[HttpReply]:
        """The reply as the client may see it."""
        return as_it_is(reply)

    @property
    def _source_id(self) -> str:
        return self._way.route.source.id

    def _take(self, task: "asyncio.Future[HttpReply]") -> None:
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or error is not None or self.done():
            # Above all when the client has gone: the server must learn of it.
            self._reply.close()
        if self.done():
            return
        if task.cancelled():
            super().cancel()
        elif error is not None:
            self.set_exception(error)
        else:
            self.set_result(task.result())

    def _redirected(self, status: int) -> HttpReply:
        text = (
            f"the server answered with a redirect ({status}), which is not followed: "
            "the source's `url` must be the final one"
        )
        return self._refused(502, text)

    def _no_reply(self, error: UpstreamError) -> HttpReply:
        timed_out = isinstance(error, UpstreamTimedOut)
        kind, text = "upstream_down", "the MCP server cannot be reached"
        if timed_out:
            kind, text = "upstream_timeout", "the MCP server did not answer in time"
        elif isinstance(error, Restarting):
            kind, text = "restarting", "ThoughtGate is restarting and has no reply yet"
        elif error.sent:
            text = "the MCP server gave no reply"
        self._way.record.upstream_failed(self._source_id, self._method, str(error), kind)
        if error.sent:
            text += "; whether it acted on the request is unknown, and it was not sent again"
        code = answers.UPSTREAM_TIMED_OUT if timed_out else answers.UPSTREAM_DOWN
        return HttpReply(504 if timed_out else 502, _JSON, answers.error(self._id, code, text))

    def _refused(self, status: int, text: str, kind: str | None = None) -> HttpReply:
        """Our own answer in place of a reply that cannot be passed on."""
        kind = kind or f"upstream_{status}"
        self._way.record.upstream_failed(self._source_id, self._method, text, kind)
        return HttpReply(status, _JSON, answers.error(self._id, answers.UPSTREAM_DOWN, text))

    @property
    def _method(self) -> str:
        return self._asked[0].method if self._asked else ""

    @property
    def _id(self) -> Id | None:
        return self._asked[0].id if len(self._asked) == 1 else None


def as_it_is(reply: UpstreamReply) -> HttpReply:
    """A reply with its own bytes."""
    return HttpReply(reply.head.status, reply.head.passed, reply.body, reply.close)


def as_stream(reply: UpstreamReply, events: AsyncIterator[bytes]) -> HttpReply:
    """A reply with `events` as its body."""
    return HttpReply(reply.head.status, reply.head.passed_anew, events, reply.close)


def opaque(reply: UpstreamReply) -> str | None:
    """Why a reply could be read otherwise than we would, in one line."""
    encoding = reply.head.header("content-encoding")
    if encoding is not None and encoding.strip().lower() != "identity":
        return "the server's listing is encoded, although only identity was allowed"
    if sum(name == "content-type" for name, _ in reply.head.headers) > 1:
        return "the server's listing has two content types"
    return None


def expected(way: Endpoint, asked: Sequence[Request] | None) -> Expected:
    """What may come back to the requests `asked`; None is the client's listening stream."""
    visibility, record, source = way.gate.visibility(way.route.source), way.record, way.route.source
    method = asked[0].method if asked else ""
    return Expected(
        ids=None if asked is None else frozenset(request.id for request in asked),
        listing=any(request.method in LISTINGS for request in asked or ()),
        shows=visibility.shows,
        shows_all=visibility.shows_all,
        limit=way.gate.config.limits.listing_reply_bytes,
        learn=record.metrics.learn,
        dropped=lambda: record.metrics.errors.inc("unasked_reply", ""),
        failed=lambda reason, kind: record.upstream_failed(source.id, method, reason, kind),
        budget=way.upstream.budget,
    )


async def pieces(reply: UpstreamReply) -> AsyncIterator[bytes]:
    """The body of a reply as it comes."""
    if isinstance(reply.body, bytes):
        yield reply.body
        return
    async for piece in reply.body:
        yield piece


def _nothing() -> None:
    """There is nothing to give up before the request is on its way."""
