"""One HTTP/1.1 connection to an upstream.

Written by hand on httptools' parser because it stands in the path of every gated call: with a
general client two thirds of a request's time went into it.
"""

import asyncio
import select
from collections.abc import Callable
from typing import cast

from thoughtgate_proxy.core.http import Headers
from thoughtgate_proxy.upstream.errors import Restarting, UpstreamError, UpstreamTimedOut
from thoughtgate_proxy.upstream.reply import Exchange, UpstreamReply

# A server that names no Keep-Alive timeout may close after 5 s (Node's default).
IDLE_SECONDS = 4.0


class Connection(asyncio.Protocol):
    """Carries one exchange at a time."""

    def __init__(self, on_free: Callable[["Connection"], None]) -> None:
        """`on_free` is called each time that the connection can take another request."""
        self._loop = asyncio.get_running_loop()
        self._on_free = on_free
        self._transport: asyncio.Transport | None = None
        self._exchange: Exchange | None = None
        self._poll = select.poll()
        self._idle_until = 0.0

    async def exchange(self, request: bytes, seconds: float) -> UpstreamReply:
        """Send `request` whole and wait, at most `seconds`, for the head of the reply.

        Raises `UpstreamError`; being cancelled closes the connection.
        """
        if self._transport is None or self._transport.is_closing():
            raise UpstreamError("the connection was closed", sent=False)
        exchange = self._exchange = Exchange(self._flow, self.abort)
        timer = self._loop.call_later(seconds, self._time_out, exchange, seconds)
        try:
            self._transport.write(request)
            return await exchange.head
        except BaseException:
            self.abort()
            raise
        finally:
            timer.cancel()

    def usable(self) -> bool:
        """Whether the connection is surely alive: idle for a short while, with nothing to read.

        Something to read is the server's FIN, or bytes that nobody asked for.
        """
        return (
            self._transport is not None
            and not self._transport.is_closing()
            and not self.expired()
            and not self._poll.poll(0)
        )

    def expired(self) -> bool:
        """Whether it has been idle for too long to be used again."""
        return self._loop.time() >= self._idle_until

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def stop(self) -> None:
        """Close at once, and tell whoever waits for a reply that this is our doing."""
        if self._exchange is not None:
            self._exchange.fail(Restarting())
        self.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one, if not by name
        self._poll.register(transport.get_extra_info("socket").fileno(), select.POLLIN)

    def data_received(self, data: bytes) -> None:
        exchange = self._exchange
        if exchange is None:
            self.abort()  # bytes that nobody asked for
            return
        try:
            exchange.feed(data)
        except UpstreamError as error:
            exchange.fail(error)
            self.abort()
            return
        if exchange.done:
            self._exchange = None
            idle = _idle_seconds(exchange.headers)
            # A reply before the whole request was written leaves the server in doubt of the rest.
            written = self._transport is not None and not self._transport.get_write_buffer_size()
            if exchange.keeps_alive() and written and idle > 0:
                self._idle_until = self._loop.time() + idle
                self._on_free(self)
            else:
                self.abort()

    def eof_received(self) -> bool:
        self._end(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(exc)
        self._transport = None

    def _end(self, cause: Exception | None) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.end(cause)

    def _time_out(self, exchange: Exchange, seconds: float) -> None:
        exchange.fail(UpstreamTimedOut(f"no reply within {seconds:g} s", sent=True))

    def _flow(self, on: bool) -> None:
        if self._transport is not None and not self._transport.is_closing():
            if on:
                self._transport.resume_reading()
            else:
                self._transport.pause_reading()


def _idle_seconds(headers: Headers) -> float:
    for name, value in headers:
        if name == "keep-alive":
            seconds = value.lower().partition("timeout=")[2].partition(",")[0].strip()
            if seconds.isdecimal():
                return min(IDLE_SECONDS, int(seconds) - 1.0)
    return IDLE_SECONDS
