"""HTTP as plain values: what the pipeline takes, and what it gives back."""

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Protocol

import msgspec

Headers = Sequence[tuple[str, str]]
"""Pairs of a name in lower case and a value, in the order on the wire (latin-1)."""


# What is made anew for each request is a Struct: a frozen dataclass takes ten times as long.
class HttpRequest(msgspec.Struct, frozen=True):
    """A request, whole. `target` is the raw request target, as it stood in the request line."""

    method: str
    target: str
    headers: Headers
    body: bytes = b""

    def header(self, name: str) -> str | None:
        """The first header called `name` (lower case)."""
        return first(self.headers, name)


class HttpReply(msgspec.Struct, frozen=True):
    """A reply; a body that is an iterator is passed on piece by piece.

    An iterator that raises `ReplyCut` was cut short, and the client must be able to see it. Whoever
    takes the reply calls `close` in the end, whether the body was read or not.
    """

    status: int
    headers: Headers = ()
    body: bytes | AsyncIterator[bytes] = b""
    close: Callable[[], None] = lambda: None


class Fields(Protocol):
    """A message's headers."""

    def header(self, name: str) -> str | None:
        """The first header called `name` (lower case)."""


def first(headers: Headers, name: str) -> str | None:
    """The value of the first header called `name` (lower case)."""
    for key, value in headers:
        if key == name:
            return value
    return None


class HttpRefused(Exception):
    """A request that is refused for its HTTP form; `reason` is one line for a human.

    `limit` is the configuration's key of the limit that it is over, if that is why.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        headers: Iterable[tuple[str, str]] = (),
        limit: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, list(headers)
        self.limit = limit


class ReplyCut(Exception):
    """A body ended before its end: its length was not reached, or the connection was reset."""
