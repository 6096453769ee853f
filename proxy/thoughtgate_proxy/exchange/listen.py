"""The client's listening stream (GET, revisions before 2026-07-28)."""

import asyncio
from collections.abc import AsyncIterator, Awaitable

from thoughtgate_proxy.core.policy.permit import Permit
from thoughtgate_proxy.core.protocol import headers
from thoughtgate_proxy.core.protocol.headers import Head
from thoughtgate_proxy.core.protocol.http import HttpReply
from thoughtgate_proxy.exchange.exchange import (
    Endpoint,
    Exchange,
    as_it_is,
    as_stream,
    expected,
    opaque,
    pieces,
)
from thoughtgate_proxy.mcp import reply_filter, sse
from thoughtgate_proxy.upstream.response_body import UpstreamReply

# The old transport tells its endpoint at once; a listening stream may well be silent for hours.
_ENDPOINT_SECONDS = 1.0


class ListenExchange(Exchange):
    """A stream that the client listens on."""

    def __init__(self, way: Endpoint, permit: Permit, head: Head) -> None:
        # Who speaks streamable HTTP names one of them.
        self._known_transport = (
            head.header("mcp-session-id") is not None
            or head.header("mcp-protocol-version") is not None
        )
        super().__init__(way, permit, head)

    def _shown(self, reply: UpstreamReply) -> HttpReply | Awaitable[HttpReply]:
        return as_it_is(reply) if reply.head.status >= 300 else self._listened(reply)

    async def _listened(self, reply: UpstreamReply) -> HttpReply:
        wanted = expected(self._way, None)
        told = opaque(reply) if wanted.filters else None
        if reply.head.media_type != headers.EVENT_STREAM:
            told = "the server answered a GET with something else than events"
        if told is not None:
            reply.close()
            return self._refused(502, told)
        coming = pieces(reply)
        if not self._known_transport:
            first, coming = await _peek(coming)
            if first is not None and sse.field(first, b"event") == b"endpoint":
                reply.close()
                return self._refused(
                    501,
                    "this server speaks the HTTP+SSE transport of revision 2024-11-05, which is "
                    "not supported; it needs streamable HTTP",
                )
        events = reply_filter.events(coming, wanted)
        return as_stream(reply, self._way.changes.joined(self._way.route.source.id, None, events))


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
