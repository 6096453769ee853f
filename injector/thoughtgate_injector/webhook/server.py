"""The listener for reviews, over TLS, and how it drains; nothing is decided here."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import web

from thoughtgate_injector.probes import LARGEST_BODY, listener, text_reply

logger = logging.getLogger(__name__)

# Seconds that a draining replica goes on answering: by then no Service sends it requests. On a busy
# node that takes longer, so it drains while reviews come, for up to three times as long.
DRAIN: Final = 6.0


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP response."""

    status: int
    body: bytes
    content_type: str = "application/json"


Answer = Callable[[bytes], Awaitable[Reply]]


@dataclass(slots=True)
class Health:
    """The readiness of this replica."""

    serving: bool = False
    trusted: bool = False
    """INVARIANT: it stays true: a slow API server must not make every replica unready."""
    trouble: str | None = None
    draining: bool = False

    def missing(self) -> list[str]:
        """Name what is missing; nothing is missing from a replica that is ready."""
        found = []
        if not self.serving:
            found.append("the webhook is not served yet")
        if not self.trusted:
            why = f" ({self.trouble})" if self.trouble else ""
            found.append(f"the webhook's caBundle is not in place yet{why}")
        if self.draining:
            found.append("stopping")
        return found


@contextlib.asynccontextmanager
async def reviews(
    host: str | None,
    port: int,
    context: ssl.SSLContext,
    answers: Mapping[str, Answer],
    health: Health,
    drain: float = DRAIN,
) -> AsyncIterator[int]:
    """Serve each path of `answers` to POST over TLS; gives the port (useful for port 0).

    At the end: not ready at once, each reply closes its connection, `drain` seconds of answering
    on, the last half of them without a review, and at most three times as many; then no more.
    `host` None is every address.
    """
    clock = asyncio.get_running_loop().time
    last = clock()

    async def handle(request: web.Request) -> web.StreamResponse:
        nonlocal last
        last = clock()
        response = await _handle(request, answers)
        if health.draining:
            response.force_close()
        return response

    async with listener(handle, host, port, context) as bound:
        health.serving = True
        try:
            yield bound
        finally:
            health.draining = True
            logger.info("stopping: reviews are answered for %s seconds more", drain)
            longest = clock() + 3 * drain
            await asyncio.sleep(drain)
            # Not polling: each sleep lasts until the deadline, which later reviews extend.
            while (rest := min(last + drain / 2, longest) - clock()) > 0:  # noqa: ASYNC110
                await asyncio.sleep(rest)


async def _handle(request: web.Request, answers: Mapping[str, Answer]) -> web.Response:
    answer = answers.get(request.path)
    if answer is None:
        # Never "allowed": a webhook with a wrong path is misconfigured.
        allowed = ", ".join(f"`{path}`" for path in sorted(answers))
        return text_reply(HTTPStatus.NOT_FOUND, f"no review is answered here; allowed: {allowed}")
    if request.method != "POST":
        return text_reply(HTTPStatus.METHOD_NOT_ALLOWED, "reviews come by POST")
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        return text_reply(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a review has {LARGEST_BODY} bytes at most"
        )
    try:
        reply = await answer(body)
    except Exception:
        logger.exception("a review could not be answered")
        return text_reply(
            HTTPStatus.INTERNAL_SERVER_ERROR, "the injector failed inside; see its log"
        )
    return web.Response(status=reply.status, body=reply.body, content_type=reply.content_type)
