"""Port 7467: HTTP from the agent in, plain values to the pipeline, and its replies out."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import HttpVersion10, HttpVersion11, web

from thoughtgate_proxy.core.config.values import Limits
from thoughtgate_proxy.core.http import Headers, HttpRefused, HttpReply, HttpRequest, ReplyCut
from thoughtgate_proxy.listeners.memory import Budget, NoRoom, Share, TooBig
from thoughtgate_proxy.listeners.server import (
    HEADERS_TOO_LARGE,
    IDLE_SECONDS,
    Complaints,
    HttpServer,
    refusal,
)

# How long a client may take to send its request's body.
_BODY_SECONDS = 30.0

# Java's client offers HTTP/2 with its first request, and speaks HTTP/1.1 if the offer is ignored
# (RFC 9110, section 7.8); aiohttp ignores it and reads the body as usual.
_OFFER = "h2c"

# Of blocks of headers; one that makes them up must not fill the memory.
_REMEMBERED, _LONGEST_REMEMBERED = 256, 4096

RawHeaders = tuple[tuple[bytes, bytes], ...]
Handle = Callable[[HttpRequest], HttpReply | Awaitable[HttpReply]]


class Watch(Complaints, Protocol):
    """Is told of each request under way."""

    def begun(self) -> None: ...

    def ended(self, seconds: float) -> None: ...

    def cut(self, reason: str) -> None:
        """A reply ended too early, and the client's connection with it."""

    def left_out(self, name: str) -> None:
        """A header of a reply could not be passed on."""


class ProxyListener:
    """Reads whole requests, within the limits, and writes replies with back-pressure."""

    def __init__(
        self,
        handle: Handle,
        limits: Callable[[], Limits],
        watch: Watch,
        budget: Budget,
        body_seconds: float = _BODY_SECONDS,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        """`limits` gives those of the configuration in force; all bodies share `budget`."""
        self._handle, self._limits, self._watch = handle, limits, watch
        self._budget, self._body_seconds = budget, body_seconds
        self._active = 0
        self._blocks: dict[RawHeaders, tuple[Headers, int]] = {}
        self.closing = False
        self.server = HttpServer(self._request, watch, idle_seconds)

    async def _request(self, request: web.BaseRequest) -> web.StreamResponse:
        limits, begun = self._limits(), time.perf_counter()
        if self._active >= limits.concurrent_requests:
            told = f"{self._active} requests are under way, which is the limit"
            return self._short(503, told, "concurrent_requests")
        self._active += 1
        self._watch.begun()
        share = Share(self._budget)
        try:
            read = await self._read(request, limits, share)
            if isinstance(read, web.Response):
                return read
            answer = self._handle(read)
            reply = answer if isinstance(answer, HttpReply) else await answer
            try:
                return await self._write(request, reply)
            finally:
                reply.close()
        finally:
            share.release()
            self._active -= 1
            self._watch.ended(time.perf_counter() - begun)

    async def _read(
        self, request: web.BaseRequest, limits: Limits, share: Share
    ) -> HttpRequest | web.Response:
        headers, size = self._block(request.raw_headers)
        if size > limits.header_block_bytes:
            told = f"the headers have more than {limits.header_block_bytes} bytes"
            return self._short(HEADERS_TOO_LARGE, told, "header_block_bytes")
        if request.version not in (HttpVersion10, HttpVersion11):
            return self._short(505, "only HTTP/1.1 and HTTP/1.0 are spoken here")
        upgrade = request.headers.get("Upgrade", _OFFER)
        if request.method == "CONNECT" or upgrade.lower() != _OFFER:
            # What follows is in another protocol, or pretends to be.
            return self._short(400, "`CONNECT` and `Upgrade`: only HTTP/1.1 is spoken here")
        if request.headers.get("Expect", "100-continue").lower() != "100-continue":
            return self._short(417, "`Expect`: allowed is 100-continue")
        body = b""
        if request.can_read_body:
            try:
                if request.content.is_eof():
                    return HttpRequest(
                        request.method,
                        request.raw_path,
                        headers,
                        _at_once(request, limits.request_body_bytes, share),
                    )
                # One limit for the whole, or a byte now and then would hold the memory for ever.
                async with asyncio.timeout(self._body_seconds):
                    body = await _body(request, limits.request_body_bytes, share)
            except HttpRefused as refused:
                return self._short(refused.status, refused.reason, refused.limit)
            except TimeoutError:
                return self._short(408, f"the body did not come within {self._body_seconds:g} s")
            except web.RequestPayloadError:
                return self._short(400, "the body is not HTTP: its length or chunks are wrong")
        return HttpRequest(request.method, request.raw_path, headers, body)

    def _block(self, raw: RawHeaders) -> tuple[Headers, int]:
        """A block of headers as text, and its size: a client sends the same few again and again."""
        known = self._blocks.get(raw)
        if known is not None:
            return known
        headers = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in raw]
        size = sum(len(name) + len(value) + 4 for name, value in raw)
        if size <= _LONGEST_REMEMBERED:
            if len(self._blocks) >= _REMEMBERED:
                self._blocks.clear()
            self._blocks[raw] = headers, size
        return headers, size

    async def _write(self, request: web.BaseRequest, reply: HttpReply) -> web.StreamResponse:
        if isinstance(reply.body, bytes):
            response = web.Response(status=reply.status, body=reply.body)
            self._set(response, reply.headers)
            self._last(response)
            return response
        stream = web.StreamResponse(status=reply.status)
        self._set(stream, reply.headers)
        self._last(stream)
        await stream.prepare(request)
        try:
            async for piece in reply.body:
                await stream.write(piece)
        except ReplyCut as error:
            self._watch.cut(str(error))
            # The client must not take what it has for the whole.
            if request.transport is not None:
                request.transport.abort()
            return stream
        with contextlib.suppress(ConnectionError):
            await stream.write_eof()
        return stream

    def _short(self, status: int, reason: str, limit: str | None = None) -> web.Response:
        self._watch.refused(status, reason, limit)
        return refusal(status, reason)

    def _set(self, response: web.StreamResponse, headers: Headers) -> None:
        """The reply's own headers, and none of aiohttp's making."""
        for name, value in headers:
            if name == "content-length" and isinstance(response, web.Response):
                continue
            if value.isascii():
                response.headers.add(name, value)
                continue
            try:
                # aiohttp writes UTF-8, so that these bytes go out as they came.
                response.headers.add(name, value.encode("latin-1").decode())
            except UnicodeError:  # and these it cannot write
                self._watch.left_out(name)

    def _last(self, response: web.StreamResponse) -> None:
        if self.closing:
            response.force_close()


def _at_once(request: web.BaseRequest, most: int, share: Share) -> bytes:
    """A body that has come whole already, as most do. Raises `HttpRefused`."""
    body = request.content.read_nowait()
    if len(body) > most:
        raise _too_long(most)
    _charge(share, body)
    return body


async def _body(request: web.BaseRequest, most: int, share: Share) -> bytes:
    """The whole body, `most` bytes of it. Raises `HttpRefused`."""
    if request.content_length is not None and request.content_length > most:
        raise _too_long(most)
    if "Expect" in request.headers and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    body = bytearray()
    while piece := await request.content.readany():
        _charge(share, piece)
        body += piece
        if len(body) > most:
            raise _too_long(most)
    return bytes(body)


def _too_long(most: int) -> HttpRefused:
    return HttpRefused(413, f"the body has more than {most} bytes", limit="request_body_bytes")


def _charge(share: Share, piece: bytes) -> None:
    try:
        share.add(piece)
    except TooBig as error:
        told = "the body needs more memory than there is for all"
        raise HttpRefused(413, told, limit="memory_bytes") from error
    except NoRoom as error:
        told = "other bodies fill the memory: try again later"
        raise HttpRefused(503, told, limit="memory_bytes") from error
