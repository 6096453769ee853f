"""Replies on their way to the client: streams event by event, listings without what is hidden."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from dataclasses import dataclass

from thoughtgate_proxy.core.http import ReplyCut
from thoughtgate_proxy.core.message import Id
from thoughtgate_proxy.mcp import answers, listings
from thoughtgate_proxy.mcp.event_stream import EventTooLong, Splitter, data_of, field, with_data
from thoughtgate_proxy.mcp.event_stream import event as event_of

BAD_REPLY = 50202
# An event that no listing is expected in may be longer: it then passes as it comes.
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
    dropped: Callable[[], None]
    """Is called for each reply that nobody asked for."""

    @property
    def filters(self) -> bool:
        """Whether a listing may come, which must not show what is hidden."""
        return self.listing or (self.ids is None and not self.shows_all)


def listing(body: bytes, expected: Expected) -> bytes:
    """A whole reply to a listing, filtered; a JSON-RPC error if it cannot be understood."""
    try:
        return listings.filtered(body, expected.shows, expected.learn)
    except listings.UnreadableListing as error:
        return unreadable(str(error), expected.ids)


async def events(
    pieces: AsyncIterable[bytes], expected: Expected, first: Iterable[bytes] = ()
) -> AsyncIterator[bytes]:
    """An event stream as the client may see it, each event as soon as it is whole.

    `first` are JSON-RPC messages of ours that go before it. Whatever ends `pieces` early ends this
    too: silently where the client can resume, else with a JSON-RPC error for what is unanswered.
    """
    for message in first:
        yield event_of(message)
    splitter = Splitter(expected.limit if expected.filters else _INSPECTED)
    unanswered = set(expected.ids or ())
    resumable = False
    try:
        async for piece in pieces:
            for event in splitter.feed(piece):
                resumable = resumable or field(event, b"id") is not None
                shown = _shown(event, expected, unanswered)
                if shown is not None:
                    yield shown
    except EventTooLong as error:
        if expected.filters:
            yield event_of(unreadable(str(error), unanswered))
            return
        yield splitter.rest
        async for piece in pieces:
            yield piece
        return
    except ReplyCut:
        if not resumable and unanswered:
            text = "the server's stream ended before its reply; what became of the call is unknown"
            for id in sorted(unanswered, key=str):
                yield event_of(answers.error(id, answers.UPSTREAM_DOWN, text))
        return
    if splitter.rest.strip():
        # The standard discards an event without its empty line, but not every client does.
        shown = _shown(splitter.rest, expected, unanswered)
        if shown is not None:
            yield shown


def _shown(event: bytes, expected: Expected, unanswered: set[Id]) -> bytes | None:
    """One event as the client may see it, or None."""
    data = data_of(event)
    if data is None or not data.strip():
        return event
    if expected.ids is not None:
        found = listings.answers(data)
        if found:
            if not expected.ids.issuperset(found):
                expected.dropped()
                return None
            unanswered.difference_update(found)
    if not expected.filters:
        return event
    try:
        shown = listings.filtered(data, expected.shows, expected.learn)
    except listings.UnreadableListing as error:
        if expected.ids is None and b"tools" not in data and b"\\u" not in data:
            return event  # a replay of something that is no listing, however it is written
        return with_data(event, unreadable(str(error), expected.ids))
    return event if shown is data else with_data(event, shown)


def unreadable(reason: str, ids: Iterable[Id] | None) -> bytes:
    """The error that stands for a listing of which no part may be shown."""
    id = next(iter(sorted(ids or (), key=str)), None)
    return answers.error(id, BAD_REPLY, f"the server's listing cannot be understood: {reason}")
