"""The reply to a POST without what is hidden: a listing, a stream, or the answer to a batch."""

from collections.abc import Awaitable, Sequence

import msgspec

from thoughtgate_proxy.core.memory_budget import NoRoom, Share, TooBig, parsed_cost
from thoughtgate_proxy.core.protocol import headers
from thoughtgate_proxy.core.protocol.http import HttpReply
from thoughtgate_proxy.core.protocol.message import Request
from thoughtgate_proxy.core.protocol.methods import LISTINGS
from thoughtgate_proxy.exchange import body, passthrough
from thoughtgate_proxy.exchange.exchange import Endpoint, Exchange
from thoughtgate_proxy.mcp import listings, reply_filter
from thoughtgate_proxy.mcp.reply_filter import LISTING_LIMIT, MEMORY_LIMIT, NO_ROOM, Expected
from thoughtgate_proxy.upstream.response_body import UpstreamReply


def answer(
    exchange: Exchange, reply: UpstreamReply, own: Sequence[bytes] = ()
) -> HttpReply | Awaitable[HttpReply]:
    """The reply to one message or several.

    `own` are answers of ours to other members of the same batch: they join the reply.
    """
    answer = _answer(exchange, reply, own)
    requests = exchange.requests
    if not requests or requests[0].method != "initialize" or not isinstance(answer, HttpReply):
        return answer
    endpoint = exchange.endpoint
    # Read in passing for what the server promises to tell.
    noted = endpoint.changes.noticing(endpoint.route.source.id, answer.body)
    return msgspec.structs.replace(answer, body=noted)


def _answer(
    exchange: Exchange, reply: UpstreamReply, own: Sequence[bytes]
) -> HttpReply | Awaitable[HttpReply]:
    requests, kind = exchange.requests, reply.head.media_type
    listing = _lists(requests)
    if not listing and not own and kind != headers.EVENT_STREAM:
        return passthrough.answer(exchange, reply)
    expected = expect(exchange.endpoint, requests)
    if expected.filters and (reason := opaque(reply)) is not None:
        reply.close()
        return exchange.refuse(502, reason)
    if kind == headers.EVENT_STREAM:
        events = reply_filter.events(body.pieces(reply.body), expected, own)
        if len(requests) == 1:
            endpoint = exchange.endpoint
            events = endpoint.changes.joined(endpoint.route.source.id, requests[0], events)
        return passthrough.stream(reply, events)
    status = reply.head.status
    if status < 300 and (listing or own):
        return _whole(exchange, reply, expected, own)
    return passthrough.answer(exchange, reply)


def expect(endpoint: Endpoint, requests: Sequence[Request] | None) -> Expected:
    """What may come back to `requests`; None is the client's listening stream."""
    engine, record, source = endpoint.engine, endpoint.record, endpoint.route.source
    visibility = engine.visibility(source)
    method = requests[0].method if requests else ""
    return Expected(
        ids=None if requests is None else frozenset(request.id for request in requests),
        listing=_lists(requests or ()),
        shows=visibility.shows,
        shows_all=visibility.shows_all,
        limit=engine.config.limits.listing_reply_bytes,
        learn=record.metrics.learn,
        odd=lambda reason: record.upstream_failed(source.id, method, reason, "odd_tool"),
        dropped=lambda: record.upstream_failed(
            source.id, method, "a reply that nobody asked for was dropped", "unasked_reply"
        ),
        failed=lambda reason, kind: record.upstream_failed(source.id, method, reason, kind),
        budget=endpoint.pool.budget,
    )


def opaque(reply: UpstreamReply) -> str | None:
    """Why a reply could be read otherwise than we would, in one line."""
    encodings = [value for name, value in reply.head.headers if name == "content-encoding"]
    if any(headers.encoded(encoding) for encoding in encodings):
        return "the server's listing is encoded, although only identity was allowed"
    types = [value for name, value in reply.head.headers if name == "content-type"]
    if len(types) > 1:
        return "the server's listing has two content types"
    if not all(headers.is_utf8(content_type) for content_type in types):
        return "the server's listing has another charset than UTF-8"
    return None


async def _whole(
    exchange: Exchange, reply: UpstreamReply, expected: Expected, own: Sequence[bytes]
) -> HttpReply:
    """A reply that must be seen whole, filtered and joined by our own answers."""
    share = Share(expected.budget)
    try:
        return await _read_whole(exchange, reply, expected, own, share)
    except (NoRoom, TooBig):
        reply.close()
        return exchange.refuse(502, f"the server's reply: {NO_ROOM}", MEMORY_LIMIT)
    finally:
        share.release()


async def _read_whole(
    exchange: Exchange,
    reply: UpstreamReply,
    expected: Expected,
    own: Sequence[bytes],
    share: Share,
) -> HttpReply:
    content = await body.read(reply.body, expected.limit, share)
    if isinstance(content, body.PartialBody):
        reply.close()
        if content.cut is not None:
            return exchange.refuse(502, "the server's reply was cut short")
        text = f"the server's reply is longer than {expected.limit} bytes, so it was not read"
        return exchange.refuse(502, text, LISTING_LIMIT)
    share.add(parsed_cost(content))
    if expected.listing:
        content = reply_filter.listing(content, expected)
    if own:  # which are all where nothing of what was sent has an answer of the server's
        content = b"[" + b",".join([*listings.members(content), *own]) + b"]"
    passed = [
        (name, value)
        for name, value in reply.head.passed_anew
        if name not in ("content-encoding", "content-type")
    ]
    return HttpReply(200 if own else reply.head.status, [*passed, *body.JSON], content)


def _lists(requests: Sequence[Request]) -> bool:
    """Whether any is for a listing; a generator would cost more than the answer."""
    for request in requests:  # noqa: SIM110
        if request.method in LISTINGS:
            return True
    return False
