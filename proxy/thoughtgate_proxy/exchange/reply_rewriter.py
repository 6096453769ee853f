"""Rewrites the messages in a server's reply."""

from collections.abc import AsyncIterator, Callable

from thoughtgate_proxy.core.protocol import headers
from thoughtgate_proxy.core.protocol.http import HttpReply, first
from thoughtgate_proxy.exchange import body
from thoughtgate_proxy.mcp.sse import EventPart, Splitter, data_of, with_data

Rewrite = Callable[[bytes], bytes]
"""Makes of a JSON-RPC message another one."""


async def rewritten(reply: HttpReply, rewrite: Rewrite, limit: int) -> HttpReply:
    """`reply` with each of its messages rewritten; one beyond `limit` bytes passes as it is."""
    kind = headers.media_type(first(reply.headers, "content-type"))
    if headers.encoded(first(reply.headers, "content-encoding")):
        return reply
    anew = [(name, value) for name, value in reply.headers if name != "content-length"]
    if kind == headers.EVENT_STREAM and not isinstance(reply.body, bytes):
        return HttpReply(reply.status, anew, _events(reply.body, rewrite, limit), reply.close)
    if kind != headers.JSON:
        return reply
    content = await body.read(reply.body, limit)
    if isinstance(content, body.PartialBody):
        return HttpReply(reply.status, reply.headers, content.pieces(), reply.close)
    new = rewrite(content)
    if new == content:
        return HttpReply(reply.status, reply.headers, content, reply.close)
    # What was an error to the server may be none any more.
    return HttpReply(200, anew, new, reply.close)


async def _events(
    pieces: AsyncIterator[bytes], rewrite: Rewrite, limit: int
) -> AsyncIterator[bytes]:
    splitter = Splitter(limit, parts=True)
    async for piece in pieces:
        for event in splitter.feed(piece):
            data = None if isinstance(event, EventPart) else data_of(event)
            new = rewrite(data) if data else data
            yield event if new is None or new == data else with_data(event, new)
    if splitter.rest:
        yield splitter.rest
