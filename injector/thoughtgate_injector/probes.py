"""Probes and metrics over plain HTTP, and the listener that the webhook uses as well."""

import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from typing import Final, Protocol

from aiohttp import web

LARGEST_BODY: Final = 8 * 2**20  # bytes; the API server takes objects of 3 MiB at most
_CLOSING: Final = 2.0  # seconds for replies under way when the listener closes


class ReadinessSource(Protocol):
    """What `/readyz` asks."""

    def missing(self) -> list[str]:
        """Name what is missing; nothing is missing from what is ready."""


@contextlib.asynccontextmanager
async def serve(
    host: str | None, port: int, health: ReadinessSource, metrics: Callable[[], bytes]
) -> AsyncIterator[int]:
    """Serve `/livez`, `/readyz` and `/metrics`; gives the port."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = _probe(request.path, health, metrics)
        # A connection that stays open would delay the end of the process.
        response.force_close()
        return response

    async with listener(handle, host, port, None) as bound:
        yield bound


@contextlib.asynccontextmanager
async def listener(
    handle: Callable[[web.Request], Awaitable[web.StreamResponse]],
    host: str | None,
    port: int,
    context: ssl.SSLContext | None,
) -> AsyncIterator[int]:
    application = web.Application(client_max_size=LARGEST_BODY)
    # One route for all, so that a wrong path or method is answered with an explanation.
    application.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=_CLOSING)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port, ssl_context=context).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


def _probe(path: str, health: ReadinessSource, metrics: Callable[[], bytes]) -> web.Response:
    if path == "/livez":
        return text_reply(HTTPStatus.OK, "ok")
    if path == "/readyz":
        missing = health.missing()
        status = HTTPStatus.SERVICE_UNAVAILABLE if missing else HTTPStatus.OK
        return text_reply(status, "; ".join(missing) or "ok")
    if path == "/metrics":
        return web.Response(
            body=metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
        )
    return text_reply(HTTPStatus.NOT_FOUND, "allowed: `/livez`, `/readyz`, `/metrics`")


def text_reply(status: HTTPStatus, text: str) -> web.Response:
    return web.Response(status=status, text=text + "\n")
