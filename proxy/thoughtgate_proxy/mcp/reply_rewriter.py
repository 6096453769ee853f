"""Rewrites the messages in a server's reply."""

from collections.abc import AsyncIterator, Callable

from thoughtgate_proxy.core.protocol import headers
from thoughtgate_proxy.core.protocol.http import HttpReply, ReplyCut, first
from thoughtgate_proxy.mcp.sse import EventPart, Splitter, data_of, with_data

Rewrite = Callable[[bytes], bytes]
"""Makes of a JSON-RPC message another one."""


async def rewritten(reply: HttpReply, rewrite: Rewrite, limit: int) -> HttpReply:
    """`reply` with each of its messages rewritten; one beyond `limit` bytes passes as it is."""
    kind = headers.media_type(first(reply.headers, "content-type"))
    encoding = first(reply.headers, "content-encoding")
    if encoding is not None and encoding.strip().lower() != "identity":
        return reply
    anew = [(name, value) for name, value in reply.headers if name != "content-length"]
    if kind == headers.EVENT_STREAM and not isinstance(reply.body, bytes):
        return HttpReply(reply.status, anew, _events(reply.body, rewrite, limit), reply.close)
    if kind != headers.JSON:
        return reply
    body = reply.body if isinstance(reply.body, bytes) else await _whole(reply, limit)
    if not isinstance(body, bytes):
        return HttpReply(reply.status, reply.headers, body, reply.close)
    new = rewrite(body)
    if new == body:
        return HttpReply(reply.status, reply.headers, body, reply.close)
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


async def _whole(reply: HttpReply, limit: int) -> bytes | AsyncIterator[bytes]:
    """The whole body, or all of it piece by piece if it is too long, or cut."""
    assert not isinstance(reply.body, bytes)  # noqa: S101  the caller has seen to it
    begun, pieces = bytearray(), reply.body
    try:
        async for piece in pieces:
            begun += piece
            if len(begun) > limit:
                return _rest(bytes(begun), pieces)
    except ReplyCut as cut:
        return _cut(bytes(begun), cut)
    return bytes(begun)


async def _rest(begun: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield begun
    async for piece in pieces:
        yield piece


async def _cut(begun: bytes, cut: ReplyCut) -> AsyncIterator[bytes]:
    yield begun
    raise cut
