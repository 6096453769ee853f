"""A permitted request's way to its server, and the reply's way back."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from thoughtgate_proxy.core import headers
from thoughtgate_proxy.core.decision import Decision
from thoughtgate_proxy.core.gate import Gatekeeper
from thoughtgate_proxy.core.headers import Head
from thoughtgate_proxy.core.http import HttpReply, HttpRequest, ReplyCut
from thoughtgate_proxy.core.message import Request
from thoughtgate_proxy.core.methods import LISTINGS
from thoughtgate_proxy.core.permit import Permit
from thoughtgate_proxy.core.routing import Route
from thoughtgate_proxy.mcp import answers, event_stream, listings, replies
from thoughtgate_proxy.mcp.list_changes import ListChanges
from thoughtgate_proxy.mcp.replies import LISTING_LIMIT, Expected
from thoughtgate_proxy.telemetry.record import Record
from thoughtgate_proxy.upstream.client import Upstream
from thoughtgate_proxy.upstream.errors import Restarting, UpstreamError, UpstreamTimedOut
from thoughtgate_proxy.upstream.reply import ReplyBody, UpstreamReply

_JSON = [("content-type", headers.JSON)]
# The old transport tells its endpoint at once; a listening stream may well be silent for hours.
_ENDPOINT_SECONDS = 1.0


class Passage:
    """One request on its way through; its configuration is the one that judged it."""

    def __init__(
        self,
        gate: Gatekeeper,
        upstream: Upstream,
        where: Route,
        http: HttpRequest,
        head: Head,
        record: Record,
        changes: ListChanges,
    ) -> None:
        self._gate, self._upstream, self._http, self._record = gate, upstream, http, record
        self._head, self._changes = head, changes
        self.source, self._target = where.source, where.target

    async def post(
        self,
        body: bytes,
        decisions: Sequence[Decision],
        asked: Sequence[Request],
        ours: Sequence[bytes] = (),
    ) -> HttpReply:
        """Send `body`, which holds the requests `asked`, and give the reply as it may be seen.

        `ours` are answers of our own to other members of the same batch: they join the reply.
        """
        permit = self._gate.permit(self.source, "POST", self._target, body, decisions)
        reply = await self._send(permit, asked)
        if isinstance(reply, HttpReply):
            return reply
        try:
            answer = await self._answer(reply, asked, ours)
        except BaseException:
            reply.close()  # above all when the client has gone: the server must learn of it
            raise
        if asked and asked[0].method == "initialize":
            return replace(answer, body=self._changes.noticing(self.source.id, answer.body))
        return answer

    async def _answer(
        self, reply: UpstreamReply, asked: Sequence[Request], ours: Sequence[bytes]
    ) -> HttpReply:
        kind = headers.media_type(reply.header("content-type"))
        listing = any(request.method in LISTINGS for request in asked)
        if not listing and not ours and kind != headers.EVENT_STREAM:
            return _as_it_is(reply)
        expected = self._expected(asked)
        if expected.filters and (told := _opaque(reply)) is not None:
            reply.close()
            return self._failed(502, told, asked)
        if kind == headers.EVENT_STREAM:
            events = replies.events(_pieces(reply.body), expected, ours)
            if len(asked) == 1:
                events = self._changes.joined(self.source.id, asked[0], events)
            return _stream(reply, events)
        readable = kind == headers.JSON or reply.status < 300
        if (listing and readable) or (ours and reply.status < 300):
            return await self._whole(reply, expected, asked, ours)
        return _as_it_is(reply)

    async def listen(self) -> HttpReply:
        """Open the client's listening stream (GET, revisions before 2026-07-28)."""
        reply = await self._send(self._gate.permit(self.source, "GET", self._target), ())
        if isinstance(reply, HttpReply) or reply.status >= 300:
            return reply if isinstance(reply, HttpReply) else _as_it_is(reply)
        try:
            return await self._listened(reply)
        except BaseException:
            reply.close()
            raise

    async def _listened(self, reply: UpstreamReply) -> HttpReply:
        expected = self._expected(None)
        told = _opaque(reply) if expected.filters else None
        if headers.media_type(reply.header("content-type")) != headers.EVENT_STREAM:
            told = "the server answered a GET with something else than events"
        if told is not None:
            reply.close()
            return self._failed(502, told)
        pieces = _pieces(reply.body)
        if not {"mcp-session-id", "mcp-protocol-version"} & {
            name for name, _ in self._http.headers
        }:
            first, pieces = await _peek(pieces)
            if first is not None and event_stream.field(first, b"event") == b"endpoint":
                reply.close()
                return self._failed(
                    501,
                    "this server speaks the HTTP+SSE transport of revision 2024-11-05, which is "
                    "not supported; it needs streamable HTTP",
                )
        events = replies.events(pieces, expected)
        return _stream(reply, self._changes.joined(self.source.id, None, events))

    async def plain(self) -> HttpReply:
        """Send a request without a message: the end of a session, or a read of metadata."""
        reply = await self._send(
            self._gate.permit(self.source, self._http.method, self._target), ()
        )
        return reply if isinstance(reply, HttpReply) else _as_it_is(reply)

    async def _send(self, permit: Permit, asked: Sequence[Request]) -> UpstreamReply | HttpReply:
        metrics, begun = self._record.metrics, time.perf_counter()
        try:
            reply = await self._upstream.send(permit, self._head)
        except UpstreamError as error:
            metrics.upstream_requests.inc(self.source.id, "none" if error.sent else "unsent")
            return self._no_reply(error, asked)
        except asyncio.CancelledError:  # the client has gone, and the server may have acted
            metrics.upstream_requests.inc(self.source.id, "none")
            raise
        self._record.upstreams[self.source.id] = "answered"
        metrics.upstream_seconds.observe(time.perf_counter() - begun)
        metrics.upstream_requests.inc(self.source.id, str(reply.status))
        if 300 <= reply.status < 400 and reply.status != 304:
            reply.close()
            return self._failed(
                502,
                f"the server answered with a redirect ({reply.status}), which is not followed: "
                "the source's `url` must be the final one",
                asked,
            )
        if reply.status == 404 and self._target == "/":
            self._record.hint_path(self.source.id)
        return reply

    def _no_reply(self, error: UpstreamError, asked: Sequence[Request]) -> HttpReply:
        timed_out = isinstance(error, UpstreamTimedOut)
        method = asked[0].method if asked else ""
        kind, text = "upstream_down", "the MCP server cannot be reached"
        if timed_out:
            kind, text = "upstream_timeout", "the MCP server did not answer in time"
        elif isinstance(error, Restarting):
            kind, text = "restarting", "ThoughtGate is restarting and has no reply yet"
        elif error.sent:
            text = "the MCP server gave no reply"
        self._record.upstream_failed(self.source.id, method, str(error), kind)
        if error.sent:
            text += "; whether it acted on the request is unknown, and it was not sent again"
        code = answers.UPSTREAM_TIMED_OUT if timed_out else answers.UPSTREAM_DOWN
        id = asked[0].id if len(asked) == 1 else None
        return HttpReply(504 if timed_out else 502, _JSON, answers.error(id, code, text))

    def _failed(
        self, status: int, text: str, asked: Sequence[Request] = (), kind: str | None = None
    ) -> HttpReply:
        method = asked[0].method if asked else ""
        kind = kind or f"upstream_{status}"
        self._record.upstream_failed(self.source.id, method, text, kind)
        id = asked[0].id if len(asked) == 1 else None
        return HttpReply(status, _JSON, answers.error(id, answers.UPSTREAM_DOWN, text))

    async def _whole(
        self,
        reply: UpstreamReply,
        expected: Expected,
        asked: Sequence[Request],
        ours: Sequence[bytes],
    ) -> HttpReply:
        """A reply that must be seen whole, filtered and joined by our own answers."""
        try:
            body = await _read(reply.body, expected.limit)
        except ReplyCut:
            return self._failed(502, "the server's reply was cut short", asked)
        if body is None:
            text = f"the server's reply is longer than {expected.limit} bytes, so it was not read"
            return self._failed(502, text, asked, LISTING_LIMIT)
        if expected.listing:
            body = replies.listing(body, expected)
        if ours:  # which are all where nothing of what was sent has an answer of the server's
            body = _array([*listings.members(body), *ours])
        same = [(k, v) for k, v in reply.headers if k not in ("content-encoding", "content-type")]
        passed = headers.downstream(same, same_body=False)
        return HttpReply(200 if ours else reply.status, [*passed, *_JSON], body)

    def _expected(self, asked: Sequence[Request] | None) -> Expected:
        visibility, metrics = self._gate.visibility(self.source), self._record.metrics
        method = asked[0].method if asked else ""
        return Expected(
            ids=None if asked is None else frozenset(request.id for request in asked),
            listing=any(request.method in LISTINGS for request in asked or ()),
            shows=visibility.shows,
            shows_all=visibility.shows_all,
            limit=self._gate.config.limits.listing_reply_bytes,
            learn=metrics.learn,
            dropped=lambda: metrics.errors.inc("unasked_reply", ""),
            failed=lambda reason, kind: self._record.upstream_failed(
                self.source.id, method, reason, kind
            ),
        )


def _opaque(reply: UpstreamReply) -> str | None:
    """Why a reply could be read otherwise than we would, in one line."""
    encoding = reply.header("content-encoding")
    if encoding is not None and encoding.strip().lower() != "identity":
        return "the server's listing is encoded, although only identity was allowed"
    if sum(name == "content-type" for name, _ in reply.headers) > 1:
        return "the server's listing has two content types"
    return None


def _as_it_is(reply: UpstreamReply) -> HttpReply:
    passed = headers.downstream(reply.headers, same_body=True)
    return HttpReply(reply.status, passed, reply.body, reply.close)


def _stream(reply: UpstreamReply, events: AsyncIterator[bytes]) -> HttpReply:
    passed = headers.downstream(reply.headers, same_body=False)
    return HttpReply(reply.status, passed, events, reply.close)


def _array(members: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(members) + b"]"


async def _read(body: bytes | ReplyBody, limit: int) -> bytes | None:
    """The whole body; None, and the rest given up, if it is longer than `limit` bytes."""
    if isinstance(body, bytes):
        return body if len(body) <= limit else None
    whole = bytearray()
    async for piece in body:
        whole += piece
        if len(whole) > limit:
            body.close()
            return None
    return bytes(whole)


async def _pieces(body: bytes | ReplyBody) -> AsyncIterator[bytes]:
    if isinstance(body, bytes):
        yield body
        return
    async for piece in body:
        yield piece


async def _peek(pieces: AsyncIterator[bytes]) -> tuple[bytes | None, AsyncIterator[bytes]]:
    """The first piece, if it comes soon, and all of the pieces."""
    task = asyncio.ensure_future(_next(pieces))
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    try:
        await asyncio.wait({task}, timeout=_ENDPOINT_SECONDS)
    except asyncio.CancelledError:
        task.cancel()
        raise

    async def all_of_them() -> AsyncIterator[bytes]:
        first = await task
        if first is not None:
            yield first
            async for piece in pieces:
                yield piece

    come = task.done() and task.exception() is None
    return task.result() if come else None, all_of_them()


async def _next(pieces: AsyncIterator[bytes]) -> bytes | None:
    return await anext(pieces, None)
