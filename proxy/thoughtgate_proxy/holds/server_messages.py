"""What a server says while its response is awaited, on its way to whoever listens."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from thoughtgate_proxy.holds.server_call import ServerCall
from thoughtgate_proxy.mcp import raw_json
from thoughtgate_proxy.mcp.rewrite import Progress
from thoughtgate_proxy.mcp.sse import event

Wait = Callable[[Awaitable[Any]], Awaitable[Any]]


async def said(
    sending: "asyncio.Future[Any]",
    carrier: Callable[[], ServerCall],
    passed: Callable[[raw_json.Raws], bytes | None],
    patience: Callable[[], float],
    wait: Wait,
) -> AsyncIterator[bytes | None]:
    """The server's messages until `sending` is done, as events; None when it has been silent.

    `carrier` is whom to listen to now, `passed` makes of a message what the client gets, and
    `patience` is in seconds: not above zero it ends this. `wait` awaits.
    """
    try:
        while not sending.done() and (seconds := patience()) > 0:
            come = asyncio.ensure_future(carrier().come.wait())
            first = asyncio.FIRST_COMPLETED
            try:
                done, _ = await wait(
                    asyncio.wait({sending, come}, timeout=seconds, return_when=first)
                )
            finally:
                come.cancel()
            for message in carrier().take():
                if (piece := passed(message)) is not None:
                    yield piece
            if not done:
                yield None
    finally:
        if not sending.done():
            sending.cancel()
        sending.add_done_callback(lambda ended: ended.cancelled() or ended.exception())


def as_event(message: raw_json.Raws, progress: Progress) -> bytes | None:
    """A message of the server's as an event, with the progress token of its reader."""
    if raw_json.value(message.get("method")) != "notifications/progress":
        return event(bytes(raw_json.encoded(message)))
    passed = progress.passed(message)
    return None if passed is None else event(passed)
