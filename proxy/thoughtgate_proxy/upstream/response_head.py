"""The heads of replies: a server answers with the same few again and again."""

from collections.abc import Sequence
from dataclasses import dataclass

from thoughtgate_proxy.core.bounded_cache import HEADER_BYTES, BoundedCache
from thoughtgate_proxy.core.protocol.headers import downstream, media_type
from thoughtgate_proxy.core.protocol.http import Headers, first

_WITHOUT_BODY = (204, 304)


@dataclass(frozen=True, slots=True, eq=False)
class ResponseHead:
    """A status and headers, and what they come to.

    `passed` goes on to the client with the same body, `passed_anew` with another one; `until_close`
    says that nothing but the connection's end tells where the body ends; `idle_seconds` is the
    server's `Keep-Alive` timeout.
    """

    status: int
    headers: Headers
    media_type: str
    passed: Headers
    passed_anew: Headers
    until_close: bool
    idle_seconds: int | None
    length: int | None
    """The length of the body, where `Content-Length` alone tells it."""

    def header(self, name: str) -> str | None:
        """The first header called `name` (lower case)."""
        return first(self.headers, name)


class ResponseHeads:
    """The heads that were met lately."""

    def __init__(self) -> None:
        self._known = BoundedCache[tuple[int, tuple[tuple[bytes, bytes], ...]], ResponseHead](
            most=256, longest=4096
        )
        self.whole = BoundedCache[bytes, ResponseHead](most=256, longest=4096)
        """By its bytes: the head of a reply that came whole and let the connection last."""

    def of(self, status: int, lines: Sequence[tuple[bytes, bytes]]) -> ResponseHead:
        """The head with these lines as they stood on the wire."""
        key = status, tuple(lines)
        head = self._known.get(key)
        if head is None:
            head = _read(status, lines)
            size = sum(len(name) + len(value) + HEADER_BYTES for name, value in lines)
            self._known.put(key, head, size)
        return head


def _read(status: int, lines: Sequence[tuple[bytes, bytes]]) -> ResponseHead:
    headers = tuple(
        (name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in lines
    )
    measured = any(name in ("content-length", "transfer-encoding") for name, _ in headers)
    return ResponseHead(
        status,
        headers,
        media_type(first(headers, "content-type")),
        tuple(downstream(headers, same_body=True)),
        tuple(downstream(headers, same_body=False)),
        until_close=not measured and status not in _WITHOUT_BODY,
        idle_seconds=_idle_seconds(headers),
        length=_length(status, headers),
    )


def _length(status: int, headers: Headers) -> int | None:
    length = first(headers, "content-length")
    if status in _WITHOUT_BODY or length is None or not length.isdecimal():
        return None
    return None if first(headers, "transfer-encoding") is not None else int(length)


def _idle_seconds(headers: Headers) -> int | None:
    for name, value in headers:
        if name == "keep-alive":
            seconds = value.lower().partition("timeout=")[2].partition(",")[0].strip()
            if seconds.isdecimal():
                return int(seconds)
    return None
