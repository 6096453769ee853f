"""The client's listening stream (GET, revisions before 2026-07-28)."""

import asyncio
from collections.abc import Awaitable

from thoughtgate_proxy.core.protocol import headers
from thoughtgate_proxy.core.protocol.http import HttpReply, ReplyCut
from thoughtgate_proxy.exchange import body, filtered, passthrough
from thoughtgate_proxy.exchange.exchange import Exchange
from thoughtgate_proxy.mcp import reply_filter, sse
from thoughtgate_proxy.upstream.response_body import UpstreamReply

# The old transport tells its endpoint at once; a listening stream may well be silent for hours.
_ENDPOINT_SECONDS = 1.0


def answer(exchange: Exchange, reply: UpstreamReply) -> HttpReply | Awaitable[HttpReply]:
    """The stream as the client may see it; a refusal of the server's as it is."""
    if reply.head.status >= 300:
        return passthrough.answer(exchange, reply)
    return _stream(exchange, reply)


async def _stream(exchange: Exchange, reply: UpstreamReply) -> HttpReply:
    endpoint = exchange.endpoint
    expected = filtered.expect(endpoint, None)
    reason = filtered.opaque(reply) if expected.filters else None
    if reply.head.media_type != headers.EVENT_STREAM:
        # The protocol's own word for a server that has no such stream.
        reply.close()
        status = reply.head.status
        return exchange.refuse(405, f"the server has no stream here: it answered {status}")
    if reason is not None:
        reply.close()
        return exchange.refuse(502, reason)
    # Who speaks streamable HTTP names one of them.
    known = ("mcp-session-id", "mcp-protocol-version")
    if not any(map(exchange.head.header, known)) and await _is_old_transport(reply):
        reply.close()
        return exchange.refuse(
            501,
            "this server speaks the HTTP+SSE transport of revision 2024-11-05, which is "
            "not supported; it needs streamable HTTP",
        )
    events = reply_filter.events(body.pieces(reply.body), expected)
    joined = endpoint.changes.joined(endpoint.route.source.id, None, events)
    return passthrough.stream(reply, joined)


async def _is_old_transport(reply: UpstreamReply) -> bool:
    """Whether the stream begins, soon, with the event that only the old transport has."""
    first = reply.body
    if not isinstance(first, bytes):
        try:
            async with asyncio.timeout(_ENDPOINT_SECONDS):
                first = await first.peek()
        except (TimeoutError, ReplyCut):
            return False
    return sse.field(first, b"event") == b"endpoint"
