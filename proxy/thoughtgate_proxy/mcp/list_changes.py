"""Tells listening clients that the tools which they may see are others after a reload.

Only where the server said that it tells of such changes itself: a client that was promised nothing
need not understand it.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import orjson

from thoughtgate_proxy.core.protocol.message import Id, Request
from thoughtgate_proxy.mcp.sse import Splitter, data_of, event

_LISTEN = "subscriptions/listen"
_ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
_SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
# A server's greeting is short; of a longer one nothing is learned.
_MOST_GREETING = 64 * 1024
_END = re.compile(rb"(?:\r\n|\r(?!\n)|\n)(?:\r\n|\r|\n)\Z")


class ListChanges:
    """The streams that clients listen on now, by source, and which servers promised to tell."""

    def __init__(self) -> None:
        self._promised: set[str] = set()
        self._told: dict[str, set[_Told]] = {}

    def tell(self, source: str) -> None:
        """The visible tools of `source` may be others now."""
        for told in self._told.get(source, ()):
            if (told.subscription is not None or source in self._promised) and not told.now.done():
                told.now.set_result(None)

    def noticing(
        self, source: str, body: bytes | AsyncIterator[bytes]
    ) -> bytes | AsyncIterator[bytes]:
        """The same `body`, an answer to `initialize`, read in passing."""
        if isinstance(body, bytes):
            self._greeted(source, body)
            return body
        return self._reading(source, body)

    async def _reading(self, source: str, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        seen = bytearray()
        try:
            async for piece in body:
                if len(seen) <= _MOST_GREETING:
                    seen += piece
                yield piece
        finally:  # a client may go as soon as it has the event that it waits for
            self._greeted(source, bytes(seen))

    def _greeted(self, source: str, body: bytes) -> None:
        if len(body) > _MOST_GREETING:
            return
        for message in (body, *_data(body)):
            if _at(message, "result", "capabilities", "tools", "listChanged") is True:
                self._promised.add(source)

    def joined(
        self, source: str, asked: Request | None, events: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        """`events` with ours between them, if `asked` listens for it; None is the GET stream."""
        if asked is None:
            return self._joined(source, _Told(None), events)
        wanted = asked.params.get("notifications") if asked.method == _LISTEN else None
        if not wanted or wanted.get("toolsListChanged") is not True:
            return events
        return self._joined(source, _Told(asked.id), events)

    async def _joined(
        self, source: str, told: "_Told", events: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        # In the modern revision the server's word is the first event of the stream.
        may_tell = told.subscription is None
        between = True
        self._told.setdefault(source, set()).add(told)
        coming = _coming(events)
        try:
            while True:
                awaited = {coming, told.now} if may_tell and between else {coming}
                await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
                if coming.done():
                    piece = coming.result()
                    if piece is None:
                        return
                    may_tell = may_tell or _acknowledges(piece)
                    # An event that is too long to be held passes in pieces.
                    between = _END.search(piece, max(0, len(piece) - 4)) is not None
                    yield piece
                    coming = _coming(events)
                elif told.now.done():
                    told.now = asyncio.get_running_loop().create_future()
                    yield event(told.note)
        finally:
            coming.cancel()
            self._told[source].discard(told)


class _Told:
    """One stream; `now` is done when its client must be told."""

    def __init__(self, subscription: Id | None) -> None:
        self.subscription = subscription
        self.now: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()
        note: dict[str, Any] = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
        if subscription is not None:
            note["params"] = {"_meta": {_SUBSCRIPTION: subscription}}
        self.note = orjson.dumps(note)


def _coming(events: AsyncIterator[bytes]) -> "asyncio.Future[bytes | None]":
    """The next piece, None at the end."""
    task = asyncio.ensure_future(_next(events))
    # Nobody may be left to take its error when the client has gone.
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    return task


async def _next(events: AsyncIterator[bytes]) -> bytes | None:
    return await anext(events, None)


def _acknowledges(piece: bytes) -> bool:
    """Whether the server will tell of changed tools."""
    data = data_of(piece) or b""
    return (
        _at(data, "method") == _ACKNOWLEDGED
        and _at(data, "params", "notifications", "toolsListChanged") is True
    )


def _data(stream: bytes) -> list[bytes]:
    """The data of each event in `stream`."""
    splitter = Splitter(_MOST_GREETING)
    events = [*splitter.feed(stream), splitter.rest]
    return [data for one in events if (data := data_of(one)) is not None]


def _at(message: bytes, *path: str) -> Any:
    """The value at `path`; None if there is none, or no JSON."""
    try:
        value = orjson.loads(message)
    except orjson.JSONDecodeError:
        return None
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value
