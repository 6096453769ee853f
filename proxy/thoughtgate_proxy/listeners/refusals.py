"""Why a request is refused before it is one, without anything that the client sent."""

from aiohttp.http import RawRequestMessage
from aiohttp.http_exceptions import BadHttpMethod, BadStatusLine, InvalidURLError, LineTooLong

from thoughtgate_proxy.core.protocol.http import HttpRefused
from thoughtgate_proxy.listeners.request_head import HEADERS_TOO_LARGE, MOST_HEADERS, Block

_TOO_MANY = "Too many headers received"  # aiohttp's words


def not_spoken(message: RawRequestMessage, block: Block) -> HttpRefused | None:
    if message.method == "CONNECT":
        return HttpRefused(400, "`CONNECT`: only HTTP/1.1 is spoken here")
    if message.version == (1, 1):
        return None
    if message.version != (1, 0):
        return HttpRefused(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
    if block.chunked:
        return HttpRefused(400, "`Transfer-Encoding` is not of HTTP/1.0")
    return None


def unreadable(error: BaseException | None) -> HttpRefused:
    """What aiohttp's parser found wrong, without anything that the client sent."""
    said = str(getattr(error, "message", ""))
    if isinstance(error, LineTooLong) or said == _TOO_MANY:
        told = f"the head has more than {MOST_HEADERS} headers"
        if isinstance(error, LineTooLong):
            told = "a line of the request's head is too long"
        return HttpRefused(HEADERS_TOO_LARGE, told, limit="header_block_bytes")
    kinds: tuple[tuple[type[Exception], str], ...] = (
        (BadHttpMethod, "its method is none of HTTP's"),
        (InvalidURLError, "its target is no URL"),
        (BadStatusLine, "its first line cannot be read"),
    )
    for kind, told in kinds:
        if isinstance(error, kind):
            return HttpRefused(400, f"the request is not HTTP: {told}")
    reason, quoted, _ = said.partition(":\n\n")  # llhttp's own words come before what it quotes
    return HttpRefused(400, f"the request is not HTTP: {reason[:100] if quoted else 'a header'}")


def too_long(most: int) -> HttpRefused:
    return HttpRefused(413, f"the body has more than {most} bytes", limit="request_body_bytes")
