"""Heads of replies as they stand on the wire."""

import time
from collections.abc import Callable
from http import HTTPStatus

import orjson

from thoughtgate_proxy.core.bounded_cache import BoundedCache
from thoughtgate_proxy.core.protocol.http import Headers

_WITHOUT_BODY = (204, 304)
_FRAMING = ("content-length", "transfer-encoding")
_JSON = (("content-type", "application/json"),)


class HeadWriter:
    """Writes heads; those that were written lately are remembered as far as they stay the same."""

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        """`now` gives Unix time in seconds."""
        self._now = now
        self._known = BoundedCache[tuple[int, Headers], tuple[bytes, bool]](most=256, longest=4096)
        self._second, self._date = -1, b""

    def whole(self, status: int, headers: Headers, body: bytes, *, last: bool) -> bytes:
        """The head of a reply with this body; `last` if the connection ends with it."""
        framing = b"" if status in _WITHOUT_BODY else b"content-length: %d\r\n" % len(body)
        return self._head(status, headers, framing, last)

    def streamed(
        self, status: int, headers: Headers, length: str | None, *, chunks: bool, last: bool
    ) -> bytes:
        """The head of a reply whose body follows: of a length, in chunks, or until the end."""
        framing = b"transfer-encoding: chunked\r\n" if chunks else b""
        if length is not None:
            framing = b"content-length: %b\r\n" % length.encode("latin-1")
        return self._head(status, headers, framing, last)

    def refusal(self, status: int, reason: str) -> bytes:
        """A whole reply, head and body, that refuses what was not read whole."""
        error = {"code": -32600, "message": reason}
        body = orjson.dumps({"jsonrpc": "2.0", "id": None, "error": error})
        return self.whole(status, _JSON, body, last=True) + body

    def _head(self, status: int, headers: Headers, framing: bytes, last: bool) -> bytes:
        known = self._known.get((status, headers)) if isinstance(headers, tuple) else None
        if known is None:
            known = self._new(status, headers)
        lines, dated = known
        # Whoever passes a reply on adds the date if it has none (RFC 9110, section 6.6.1).
        date = b"" if dated else self._today()
        return b"%b%b%b%b\r\n" % (lines, date, framing, b"connection: close\r\n" if last else b"")

    def _new(self, status: int, headers: Headers) -> tuple[bytes, bool]:
        """The lines that are the same each time, and whether a date is among them."""
        lines = [f"HTTP/1.1 {status} {_phrase(status)}"]
        lines += [f"{name}: {value}" for name, value in headers if name not in _FRAMING]
        if any("\r" in line or "\n" in line for line in lines):
            raise ValueError("a header of a reply has a line end")
        text = "\r\n".join([*lines, ""]).encode("latin-1")
        known = text, any(name == "date" for name, _ in headers)
        if isinstance(headers, tuple):
            self._known.put((status, headers), known, len(text))
        return known

    def _today(self) -> bytes:
        now = int(self._now())
        if now != self._second:
            self._second = now
            # The names of days and months are English as long as nobody sets a locale.
            date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(now))
            self._date = b"date: %b\r\n" % date.encode()
        return self._date


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""
