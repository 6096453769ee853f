"""A request's block of headers, as far as HTTP itself is concerned.

llhttp is strict about how headers are written. What several of them mean together is checked here:
how many hosts there are, what the body is framed by, and what is offered beside HTTP/1.1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from thoughtgate_proxy.core.bounded_cache import HEADER_BYTES, BoundedCache
from thoughtgate_proxy.core.protocol.http import Headers, HttpRefused

MOST_HEADERS = 128
HEADERS_TOO_LARGE = 431
# Java's client offers HTTP/2 with its first request, and speaks HTTP/1.1 if the offer is ignored
# (RFC 9110, section 7.8).
_OFFER = "h2c"

Lines = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Headers as text, `size` bytes of them with their line ends.

    `refused` says why no request may have them; `body_length` is told by `Content-Length`.
    """

    headers: Headers
    size: int
    refused: HttpRefused | None
    names_host: bool
    body_length: int
    chunked: bool
    waits: bool
    """Whether the client waits for leave to send the body (`Expect: 100-continue`)."""
    offers: bool
    """Whether another protocol is offered, which is ignored."""


class Blocks:
    """The blocks that were met lately: a client sends the same few again and again."""

    def __init__(self) -> None:
        self._known = BoundedCache[tuple[tuple[bytes, bytes], ...], Block](most=256, longest=4096)

    def of(self, lines: Lines) -> Block:
        """The block with these lines, as the parser found them."""
        key = tuple(lines)
        block = self._known.get(key)
        if block is None:
            block = _read(key)
            self._known.put(key, block, block.size + HEADER_BYTES * len(key))
        return block


def size(lines: Lines) -> int:
    """How many bytes the lines have, line ends included."""
    return sum(len(name) + len(value) + 4 for name, value in lines)


def _read(lines: Lines) -> Block:
    # The parser leaves blanks after a value, which are no part of it (RFC 9110, section 5.5).
    headers = tuple(
        (name.decode("latin-1").lower(), value.decode("latin-1").strip(" \t"))
        for name, value in lines
    )
    lengths = [value for name, value in headers if name == "content-length"]
    refused = None
    try:
        _check(headers)
    except HttpRefused as error:
        # Its traceback would keep more than itself for as long as this is remembered.
        refused = error.with_traceback(None)
    return Block(
        headers,
        size(lines),
        refused,
        names_host=any(name == "host" for name, _ in headers),
        # The parser lets only one through, all of it digits.
        body_length=int(lengths[0]) if lengths else 0,
        chunked=any(name == "transfer-encoding" for name, _ in headers),
        waits=any(name == "expect" for name, _ in headers),
        offers=any(name == "upgrade" for name, _ in headers),
    )


def _check(headers: Headers) -> None:
    """Refuse what HTTP/1.1 itself forbids, or is not spoken here. Raises `HttpRefused`."""
    if sum(name == "host" for name, _ in headers) > 1:
        raise HttpRefused(400, "the request names two hosts")
    for name, value in headers:
        match name, value.strip().lower():
            case "upgrade", offer if offer != _OFFER:
                # What follows is in another protocol, or pretends to be.
                raise HttpRefused(400, "`Upgrade`: only HTTP/1.1 is spoken here")
            case "expect", expected if expected != "100-continue":
                raise HttpRefused(417, "`Expect`: allowed is 100-continue")
            case "transfer-encoding", coding if coding != "chunked":
                raise HttpRefused(400, "`Transfer-Encoding`: allowed is chunked alone")
