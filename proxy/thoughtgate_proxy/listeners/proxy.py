"""Port 7467: HTTP from the agent in, plain values to the pipeline, and its replies out."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Protocol

from aiohttp import web

from thoughtgate_proxy.core.config.values import Limits
from thoughtgate_proxy.core.http import Headers, HttpReply, HttpRequest, ReplyCut
from thoughtgate_proxy.listeners.server import http_server

# How long a client may take between two pieces of its request's body.
_BODY_SECONDS = 30.0

Handle = Callable[[HttpRequest], Awaitable[HttpReply]]


class Watch(Protocol):
    """Is told of each request under way."""

    def begun(self) -> None: ...

    def ended(self, seconds: float) -> None: ...


class ProxyListener:
    """Reads whole requests, within the limits, and writes replies with back-pressure."""

    def __init__(self, handle: Handle, limits: Callable[[], Limits], watch: Watch) -> None:
        """`limits` gives those of the configuration in force."""
        self._handle, self._limits, self._watch = handle, limits, watch
        self._active = 0
        self.closing = False
        self.server = http_server(self._request)

    async def _request(self, request: web.BaseRequest) -> web.StreamResponse:
        limits, begun = self._limits(), time.perf_counter()
        if self._active >= limits.concurrent_requests:
            return self._short(503, f"{self._active} requests are under way, which is the limit")
        self._active += 1
        self._watch.begun()
        try:
            read = await self._read(request, limits)
            if isinstance(read, web.Response):
                return read
            reply = await self._handle(read)
            try:
                return await self._write(request, reply)
            finally:
                reply.close()
        finally:
            self._active -= 1
            self._watch.ended(time.perf_counter() - begun)

    async def _read(self, request: web.BaseRequest, limits: Limits) -> HttpRequest | web.Response:
        headers: Headers = []
        size = 0
        for name, value in request.raw_headers:
            size += len(name) + len(value) + 4
            headers.append((name.decode("latin-1").lower(), value.decode("latin-1")))
        if size > limits.header_block_bytes:
            return self._short(431, f"the headers have more than {limits.header_block_bytes} bytes")
        most = limits.request_body_bytes
        too_long = f"the body has more than {most} bytes"
        if request.content_length is not None and request.content_length > most:
            return self._short(413, too_long)
        body = bytearray()
        if request.can_read_body:
            try:
                while True:
                    async with asyncio.timeout(_BODY_SECONDS):
                        piece = await request.content.readany()
                    if not piece:
                        break
                    body += piece
                    if len(body) > most:
                        return self._short(413, too_long)
            except TimeoutError:
                return self._short(408, f"nothing of the body came for {_BODY_SECONDS:g} s")
            except web.RequestPayloadError as error:
                return self._short(400, f"the body is not HTTP: {error}")
        return HttpRequest(request.method, request.raw_path, headers, bytes(body))

    async def _write(self, request: web.BaseRequest, reply: HttpReply) -> web.StreamResponse:
        if isinstance(reply.body, bytes):
            response = web.Response(status=reply.status, body=reply.body)
            _set(response, reply.headers)
            self._last(response)
            return response
        stream = web.StreamResponse(status=reply.status)
        _set(stream, reply.headers)
        self._last(stream)
        await stream.prepare(request)
        try:
            async for piece in reply.body:
                await stream.write(piece)
        except ReplyCut:
            # The client must not take what it has for the whole.
            if request.transport is not None:
                request.transport.abort()
            return stream
        with contextlib.suppress(ConnectionError):
            await stream.write_eof()
        return stream

    def _short(self, status: int, reason: str) -> web.Response:
        """A refusal before the request was read; the connection may hold its rest, so it ends."""
        response = web.json_response(
            {"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": reason}},
            status=status,
        )
        response.force_close()
        return response

    def _last(self, response: web.StreamResponse) -> None:
        if self.closing:
            response.force_close()


def _set(response: web.StreamResponse, headers: Headers) -> None:
    """The reply's own headers, and none of aiohttp's making."""
    for name, value in headers:
        if name != "content-length" or not isinstance(response, web.Response):
            response.headers.add(name, value)
