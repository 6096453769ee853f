"""How requests and connections end: the client goes, the reply breaks off, or we end."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.harness.listener import listening
from tests.harness.wait import run, soon, within
from tests.harness.wire import Cut, ask, connected, post
from thoughtgate_proxy.core.protocol.http import HttpReply, HttpRequest, ReplyCut


@run
async def test_a_reply_that_nobody_takes_is_closed_however_soon_its_client_goes() -> None:
    closed = handled = 0

    def close() -> None:
        nonlocal closed
        closed += 1

    def handle(_: HttpRequest) -> HttpReply:
        nonlocal handled
        handled += 1
        return HttpReply(200, [], endless(), close)

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x"
            await asyncio.sleep(0.01)

    async with listening(handle) as (port, watch, _):
        for count in range(60):
            async with connected(port) as wire:
                wire.writer.write(post(b"{}"))
                for _ in range(count % 10):
                    await asyncio.sleep(0)
                wire.writer.write_eof()
            await within(lambda: not watch.active and closed == handled, "the end of the request")
        assert handled
        assert not watch.breaks


async def of(*pieces: bytes | Exception) -> AsyncIterator[bytes]:
    for piece in pieces:
        if isinstance(piece, Exception):
            raise piece
        yield piece


@pytest.mark.parametrize("error", [ReplyCut("short"), LookupError("ours")])
@run
async def test_a_reply_that_breaks_off_breaks_the_connection(error: Exception) -> None:
    closed = []

    async def cut(_: HttpRequest) -> HttpReply:
        return HttpReply(200, [], of(b"begun", error), lambda: closed.append(1))

    async with listening(cut) as (port, watch, _):
        with pytest.raises(Cut):
            await ask(port, post(b"{}"))
        await within(lambda: closed, "the reply to be closed")
        assert bool(watch.cuts) is isinstance(error, ReplyCut)
        assert bool(watch.breaks) is not isinstance(error, ReplyCut)


@pytest.mark.parametrize("half", [False, True])
@run
async def test_a_client_that_goes_ends_the_handler(half: bool) -> None:
    cancelled = asyncio.Event()

    async def held(_: HttpRequest) -> HttpReply:
        try:
            await asyncio.sleep(60)
        finally:
            cancelled.set()
        raise AssertionError

    async with listening(held) as (port, watch, _), connected(port) as wire:
        await wire.send(post(b"{}"))
        await within(lambda: watch.active, "the request")
        wire.writer.write_eof() if half else wire.abort()
        await soon(cancelled.wait(), "the end of the handler")
        assert not watch.breaks


@run
async def test_a_client_that_goes_while_its_reply_is_written_is_no_mistake_of_ours() -> None:
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 10_000

    async def handle(_: HttpRequest) -> HttpReply:
        return HttpReply(200, [], endless(), closed.set)

    async with listening(handle) as (port, watch, _):
        async with connected(port) as wire:
            await wire.send(post(b"{}"))
            await wire.reader.readexactly(100_000)
        await soon(closed.wait(), "the reply to be closed")
        await within(lambda: not watch.active, "the end of the request")
        assert not watch.breaks
        assert not watch.refusals


@run
async def test_while_closing_each_reply_is_the_last_of_its_connection() -> None:
    async with listening() as (port, _, listener), connected(port) as wire:
        await wire.send(post(b"{}"))
        assert (await wire.reply()).header("connection") is None
        listener.closing = True
        await wire.send(post(b"{}"))
        assert (await wire.reply()).header("connection") == "close"
        await wire.closed()
