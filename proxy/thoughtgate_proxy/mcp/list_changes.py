"""Notifies listening clients that a reload has changed which tools they may see.

Only where the server announced such notifications itself: a client that was promised nothing
need not understand it.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import orjson

from thoughtgate_proxy.core.protocol.message import Id, Request
from thoughtgate_proxy.mcp import raw_json
from thoughtgate_proxy.mcp.sse import Splitter, data_of, event

_LISTEN = "subscriptions/listen"
_ACKNOWLEDGED = "notifications/subscriptions/acknowledged"
_LIST_CHANGED = ("result", "capabilities", "tools", "listChanged")
_SUBSCRIPTION = "io.modelcontextprotocol/subscriptionId"
# An answer to `initialize` is short; of a longer one nothing is learned.
_MOST_INITIALIZE_BYTES = 64 * 1024
_END = re.compile(rb"(?:\r\n|\r(?!\n)|\n)(?:\r\n|\r|\n)\Z")


class ListChanges:
    """The streams that clients listen on now, by source, and which servers announced changes."""

    def __init__(self) -> None:
        self._announced: set[str] = set()
        self._listeners: dict[str, set[_Listener]] = {}

    def tell(self, source: str) -> None:
        """The visible tools of `source` may be others now."""
        for listener in self._listeners.get(source, ()):
            announced = listener.subscription is not None or source in self._announced
            if announced and not listener.changed.done():
                listener.changed.set_result(None)

    def noticing(
        self, source: str, body: bytes | AsyncIterator[bytes]
    ) -> bytes | AsyncIterator[bytes]:
        """The same `body`, an answer to `initialize`, read in passing."""
        if isinstance(body, bytes):
            self._learn(source, body)
            return body
        return self._observe(source, body)

    async def _observe(self, source: str, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        seen = bytearray()
        try:
            async for piece in body:
                if len(seen) <= _MOST_INITIALIZE_BYTES:
                    seen += piece
                yield piece
        finally:  # a client may go as soon as it has the event that it waits for
            self._learn(source, bytes(seen))

    def _learn(self, source: str, body: bytes) -> None:
        if len(body) > _MOST_INITIALIZE_BYTES:
            return
        for message in (body, *_data(body)):
            if raw_json.value(message, *_LIST_CHANGED) is True:
                self._announced.add(source)

    def joined(
        self, source: str, asked: Request | None, events: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        """`events` with ours between them, if `asked` listens for it; None is the GET stream."""
        if asked is None:
            return self._merge(source, _Listener(None), events)
        wanted = asked.params.get("notifications") if asked.method == _LISTEN else None
        if not wanted or wanted.get("toolsListChanged") is not True:
            return events
        return self._merge(source, _Listener(asked.id), events)

    async def _merge(
        self, source: str, listener: "_Listener", events: AsyncIterator[bytes]
    ) -> AsyncIterator[bytes]:
        # In the modern revision the server's word is the first event of the stream.
        announced = listener.subscription is None
        between = True
        self._listeners.setdefault(source, set()).add(listener)
        following = _following(events)
        try:
            while True:
                awaited = {following}
                if announced and between:
                    awaited.add(listener.changed)
                await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
                if following.done():
                    piece = following.result()
                    if piece is None:
                        return
                    announced = announced or _acknowledges(piece)
                    # An event that is too long to be held passes in pieces.
                    between = _END.search(piece, max(0, len(piece) - 4)) is not None
                    yield piece
                    following = _following(events)
                elif listener.changed.done():
                    listener.renew()
                    yield event(listener.note)
        finally:
            following.cancel()
            self._listeners[source].discard(listener)


class _Listener:
    """One stream; `changed` is done when its client must be notified."""

    def __init__(self, subscription: Id | None) -> None:
        self.subscription = subscription
        self.renew()
        note: dict[str, Any] = {"jsonrpc": "2.0", "method": "notifications/tools/list_changed"}
        if subscription is not None:
            note["params"] = {"_meta": {_SUBSCRIPTION: subscription}}
        self.note = orjson.dumps(note)

    def renew(self) -> None:
        """Wait for the next change."""
        self.changed: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()


def _following(events: AsyncIterator[bytes]) -> "asyncio.Future[bytes | None]":
    """The next piece, None at the end."""
    task = asyncio.ensure_future(anext(events, None))
    # Nobody may be left to take its error when the client has gone.
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    return task


def _acknowledges(piece: bytes) -> bool:
    """Whether the server says that it will notify of changed tools."""
    data = data_of(piece)
    return (
        raw_json.value(data, "method") == _ACKNOWLEDGED
        and raw_json.value(data, "params", "notifications", "toolsListChanged") is True
    )


def _data(stream: bytes) -> list[bytes]:
    """The data of each event in `stream`."""
    splitter = Splitter(_MOST_INITIALIZE_BYTES)
    events = [*splitter.feed(stream), splitter.rest]
    return [data for one in events if (data := data_of(one)) is not None]
