"""A POST's way: its reply may be a listing, a stream, or the answer to a batch."""

from collections.abc import Awaitable, Sequence

import msgspec

from thoughtgate_proxy.core.memory_budget import NoRoom, Share, TooBig, parsed_cost
from thoughtgate_proxy.core.protocol import headers
from thoughtgate_proxy.core.protocol.http import HttpReply, ReplyCut
from thoughtgate_proxy.core.protocol.message import Request
from thoughtgate_proxy.core.protocol.methods import LISTINGS
from thoughtgate_proxy.exchange.exchange import (
    Exchange,
    as_it_is,
    as_stream,
    expected,
    opaque,
    pieces,
)
from thoughtgate_proxy.mcp import listings, reply_filter
from thoughtgate_proxy.mcp.reply_filter import LISTING_LIMIT, MEMORY_LIMIT, Expected
from thoughtgate_proxy.upstream.response_body import ReplyBody, UpstreamReply


class PostExchange(Exchange):
    """A message, or several, sent to the server."""

    def _shown(self, reply: UpstreamReply) -> HttpReply | Awaitable[HttpReply]:
        asked = self._asked
        if not asked or asked[0].method != "initialize":
            return self._answer(reply)
        answer = self._answer(reply)
        if not isinstance(answer, HttpReply):
            return answer
        body = self._way.changes.noticing(self._way.route.source.id, answer.body)
        return msgspec.structs.replace(answer, body=body)

    def _answer(self, reply: UpstreamReply) -> HttpReply | Awaitable[HttpReply]:
        asked, ours, kind = self._asked, self._ours, reply.head.media_type
        listing = _lists(asked)
        if not listing and not ours and kind != headers.EVENT_STREAM:
            return as_it_is(reply)
        wanted = expected(self._way, asked)
        if wanted.filters and (told := opaque(reply)) is not None:
            reply.close()
            return self._refused(502, told)
        if kind == headers.EVENT_STREAM:
            events = reply_filter.events(pieces(reply), wanted, ours)
            if len(asked) == 1:
                events = self._way.changes.joined(self._way.route.source.id, asked[0], events)
            return as_stream(reply, events)
        status = reply.head.status
        readable = kind == headers.JSON or status < 300
        if (listing and readable) or (ours and status < 300):
            return self._whole(reply, wanted)
        return as_it_is(reply)

    async def _whole(self, reply: UpstreamReply, wanted: Expected) -> HttpReply:
        """A reply that must be seen whole, filtered and joined by our own answers."""
        share = Share(wanted.budget)
        try:
            return await self._read_whole(reply, wanted, share)
        except ReplyCut:
            return self._refused(502, "the server's reply was cut short")
        except (NoRoom, TooBig):
            reply.close()
            text = "the server's reply does not fit into the memory that is left"
            return self._refused(502, f"{text} (`limits.memory_bytes`)", MEMORY_LIMIT)
        finally:
            share.release()

    async def _read_whole(self, reply: UpstreamReply, wanted: Expected, share: Share) -> HttpReply:
        body = await _read(reply.body, wanted.limit, share)
        if body is None:
            text = f"the server's reply is longer than {wanted.limit} bytes, so it was not read"
            return self._refused(502, text, LISTING_LIMIT)
        share.add(parsed_cost(body))
        if wanted.listing:
            body = reply_filter.listing(body, wanted)
        if self._ours:  # which are all where nothing of what was sent has an answer of the server's
            body = b"[" + b",".join([*listings.members(body), *self._ours]) + b"]"
        passed = [
            (name, value)
            for name, value in reply.head.passed_anew
            if name not in ("content-encoding", "content-type")
        ]
        status = 200 if self._ours else reply.head.status
        return HttpReply(status, [*passed, ("content-type", headers.JSON)], body)


def _lists(asked: Sequence[Request]) -> bool:
    """Whether any is for a listing; a generator would cost more than the answer."""
    for request in asked:  # noqa: SIM110
        if request.method in LISTINGS:
            return True
    return False


async def _read(body: bytes | ReplyBody, limit: int, share: Share) -> bytes | None:
    """The whole body; None, and the rest given up, if it is longer than `limit` bytes."""
    if isinstance(body, bytes):
        return body if len(body) <= limit else None
    whole = bytearray()
    async for piece in body:
        whole += piece
        share.add(len(piece))
        if len(whole) > limit:
            body.close()
            return None
    return bytes(whole)
