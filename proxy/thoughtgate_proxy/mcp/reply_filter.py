"""Filters replies: hidden tools leave listings, and answers that nobody asked for are dropped."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass

from thoughtgate_proxy.core.memory_budget import Budget, NoRoom, Share, TooBig, parsed_cost
from thoughtgate_proxy.core.protocol.http import ReplyCut
from thoughtgate_proxy.core.protocol.message import Id
from thoughtgate_proxy.mcp import answers, listings
from thoughtgate_proxy.mcp.sse import EventPart, EventTooLong, Splitter, data_of, field, with_data
from thoughtgate_proxy.mcp.sse import event as event_of

BAD_REPLY = 50202
# What a reply failed at, as the log and the metrics call it.
MEMORY_LIMIT = "limit_memory_bytes"
NO_ROOM = "it does not fit into the memory that is left (`limits.memory_bytes`)"
CUT, LISTING_LIMIT, UNREADABLE = "upstream_cut", "limit_listing_reply_bytes", "listing_unreadable"
# So many events pass before others have their turn: each takes some 10 us.
_TURN = 50
# An event that no listing is expected in may be longer: it then passes piece by piece.
_INSPECTED = 1 << 20


@dataclass(frozen=True, slots=True)
class Expected:
    """What may come back: the ids that were asked with, and whether any asked for a listing.

    `ids` None: a stream that the client listens on, which may replay any earlier reply.
    """

    ids: frozenset[Id] | None
    listing: bool
    shows: listings.Shows
    shows_all: bool
    limit: int
    """The most bytes of a listing."""
    learn: Callable[[str], None]
    """Is told the name of each tool that a listing shows."""
    odd: Callable[[str], None]
    """Is told why a tool is left out that cannot be understood."""
    dropped: Callable[[], None]
    """Is called for each reply that nobody asked for."""
    failed: Callable[[str, str], None]
    """Is told why a reply cannot pass as it is, and which kind of failure that is."""
    budget: Budget
    """What is read of a reply is charged to it."""

    def asked(self, found: Iterable[Id | None]) -> bool:
        """Whether each of `found` was asked with. Ids compare as text, as the SDKs take them."""
        texts = {str(id) for id in self.ids or ()}
        return all(id is not None and str(id) in texts for id in found)

    @property
    def filters(self) -> bool:
        """Whether a listing may come, which must not show what is hidden."""
        return self.listing or (self.ids is None and not self.shows_all)


def listing(body: bytes, expected: Expected) -> bytes:
    """A whole reply to listings, each message of it filtered, or an error in its place."""
    found = listings.response_ids(body)
    if expected.ids is not None and not expected.asked(found or ()):
        expected.dropped()
        return unreadable("it answers an id that was not asked with", expected.ids)
    members = listings.members(body)
    if expected.shows_all and members:
        for member in members:
            listings.learn(member, expected.learn)
        return body  # with nothing to hide, bytes pass as they are
    if members == [body]:
        return _filter(body, found or expected.ids, expected)
    if not members:
        expected.failed("the listing is no JSON-RPC message", UNREADABLE)
        return unreadable("it is no JSON-RPC message", expected.ids)
    filtered = [_filter(member, listings.response_ids(member), expected) for member in members]
    return body if filtered == members else b"[" + b",".join(filtered) + b"]"


def _filter(message: bytes, ids: Iterable[Id | None] | None, expected: Expected) -> bytes:
    """A message without what is hidden; an error to `ids` if it cannot be understood."""
    try:
        return listings.filtered(message, expected.shows, expected.learn, expected.odd)
    except listings.UnreadableListing as error:
        expected.failed(f"the listing cannot be understood: {error}", UNREADABLE)
        return unreadable(str(error), ids)


async def events(
    pieces: AsyncIterable[bytes], expected: Expected, first: Iterable[bytes] = ()
) -> AsyncIterator[bytes]:
    """An event stream as the client may see it, each event as soon as it is whole.

    `first` are JSON-RPC messages of ours that go before it. Whatever ends `pieces` early ends this
    too: silently where the client can resume, else with a JSON-RPC error for what is unanswered.
    Raises `ReplyCut` where that error could not be given, since part of an event is already out.
    """
    for message in first:
        yield event_of(message)
    stream, share, count = _Stream(expected), Share(expected.budget), 0
    try:
        async for piece in pieces:
            share.add(len(piece))
            for event in stream.feed(piece):
                yield event
                count += 1
                if count % _TURN == 0:
                    await asyncio.sleep(0)
            share.keep(stream.held)
    except (NoRoom, TooBig):
        expected.failed(NO_ROOM, MEMORY_LIMIT)
        yield event_of(unreadable(NO_ROOM, stream.unanswered))
    except EventTooLong as error:
        expected.failed(str(error), LISTING_LIMIT)
        yield event_of(unreadable(str(error), stream.unanswered))
    except ReplyCut as error:
        silent = stream.resumable or not stream.unanswered
        if stream.blind and not silent:
            raise  # whoever writes the reply tells of it
        expected.failed(str(error), CUT)
        if silent:
            return
        text = "the server's stream ended before its reply; what became of the call is unknown"
        for id in sorted(stream.unanswered, key=str):
            yield event_of(answers.error(id, answers.UPSTREAM_DOWN, text))
    else:
        for event in stream.end():
            yield event
    finally:
        share.release()


class _Stream:
    """What is known of an event stream so far."""

    def __init__(self, expected: Expected) -> None:
        self._expected = expected
        self._splitter = (
            Splitter(expected.limit) if expected.filters else Splitter(_INSPECTED, parts=True)
        )
        self.unanswered = set(expected.ids or ())
        self.resumable = False
        """Whether any event had an id, from which the client can go on."""
        self.blind = False
        """Whether an event passed that was too long to be read: it may have been the response."""

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The events that `piece` completes, filtered. Raises `EventTooLong`."""
        begun = self._splitter.inside
        for event in self._splitter.feed(piece):
            if not begun and field(event, b"id") is not None:
                self.resumable = True
            begun = self._splitter.inside
            if isinstance(event, EventPart):
                self.blind = True
                yield event
            elif (filtered := self._filter(event)) is not None:
                yield filtered

    @property
    def held(self) -> int:
        """Bytes of an event that is not whole yet."""
        return self._splitter.held

    def end(self) -> Iterator[bytes]:
        """What is left when the stream has ended."""
        rest = self._splitter.rest
        if self._splitter.inside:
            yield rest
        elif rest.strip() and (filtered := self._filter(rest)) is not None:
            # The standard discards an event without its empty line, but not every client does.
            yield filtered

    def _filter(self, event: bytes) -> bytes | None:
        """One event as the client may see it, or None."""
        expected, data = self._expected, data_of(event)
        if data is None or not data.strip():
            return event
        share = Share(expected.budget)
        try:
            share.add(parsed_cost(data))
        except (NoRoom, TooBig):
            if expected.filters:
                raise
            self.blind = True  # as with one that is too long
            return event
        try:
            return self._read(event, data)
        finally:
            share.release()

    def _read(self, event: bytes, data: bytes) -> bytes | None:
        expected = self._expected
        found = listings.response_ids(data) or []
        if expected.ids is not None:
            if not expected.asked(found):
                expected.dropped()
                return None
            answered = {str(id) for id in found}
            self.unanswered = {id for id in self.unanswered if str(id) not in answered}
        elif b"tools" not in data.lower() and b"\\u" not in data:
            return event  # a replay of something that is no listing, however it is written
        if not expected.filters:
            return event
        filtered = listing(data, expected)
        if filtered == data:
            return event
        if not found:
            self.unanswered.clear()  # each of them got an error
        return with_data(event, filtered)


def unreadable(reason: str, ids: Iterable[Id | None] | None) -> bytes:
    """The errors that stand for listings of which no part may be shown, one for each id."""
    text = f"the server's listing cannot be understood: {reason}"
    errors = [
        answers.error(id, BAD_REPLY, text) for id in sorted(ids or (), key=str) if id is not None
    ]
    if len(errors) > 1:
        return b"[" + b",".join(errors) + b"]"
    return errors[0] if errors else answers.error(None, BAD_REPLY, text)
