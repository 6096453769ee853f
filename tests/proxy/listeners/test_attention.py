"""The loop stays awake for what comes at once, and sleeps where nothing does."""

import asyncio
from unittest.mock import Mock, patch

from tests.harness.listener import listening
from tests.harness.wait import run, within
from tests.harness.wire import connected, post
from thoughtgate_proxy.core.protocol.http import HttpReply, HttpRequest
from thoughtgate_proxy.listeners.attention import TURNS, Attention


async def missed(attention: Attention) -> int:
    """Let what is expected not come; gives how many turns of the loop that was waited for."""
    turns = 0
    while attention.awake:
        turns += 1
        await asyncio.sleep(0)
    await asyncio.sleep(0)
    return turns


async def skipped(attention: Attention) -> int:
    """How often it is expected in vain until it is looked out for again."""
    times = 0
    while not attention.awake:
        times += 1
        attention.expect()
    return times - 1


@run
async def test_what_comes_at_once_is_looked_out_for_each_time() -> None:
    attention = Attention()
    for _ in range(100):
        attention.expect()
        assert attention.awake
        for _ in range(TURNS // 2):
            await asyncio.sleep(0)
        attention.came()
        assert not attention.awake


@run
async def test_what_does_not_come_is_waited_for_asleep_ever_longer() -> None:
    attention = Attention()
    attention.expect()
    times = []
    for _ in range(12):
        assert await missed(attention) <= TURNS + 1
        times.append(await skipped(attention))
    assert times == [1, 3, 7, 15, 31, 63, 127, 255, 511, 1023, 1023, 1023]
    attention.came()
    attention.expect()
    assert await missed(attention) > 0
    assert await skipped(attention) == 1, "one that came makes up for all before"


@run
async def test_nothing_turns_once_it_has_come() -> None:
    loop, attention = asyncio.get_running_loop(), Attention()
    with patch.object(loop, "call_soon", wraps=loop.call_soon) as called:
        attention.expect()
        attention.came()
        await asyncio.sleep(0.01)
        attention.expect()  # while the turn of the one before may still be due
        attention.came()
        await asyncio.sleep(0.01)
        assert called.call_count < TURNS / 2


@run
async def test_a_connection_tells_what_it_expects_and_what_came() -> None:
    async def handle(_: HttpRequest) -> HttpReply:
        return HttpReply(200, (), b"{}")

    async with listening(handle) as (port, _, service):
        told = Mock()
        service.to_replies, service.to_requests = told.reply, told.request
        async with connected(port) as wire:
            for _ in range(2):
                await wire.send(post(b"{}"))
                assert (await wire.reply()).status == 200
    assert [str(call)[len("call.") :] for call in told.mock_calls] == [
        "request.came()", "reply.expect()", "reply.came()", "request.expect()",
    ] * 2  # fmt: skip


@run
async def test_nothing_is_looked_out_for_beside_many_requests() -> None:
    held: list[asyncio.Future[HttpReply]] = []

    def handle(_: HttpRequest) -> asyncio.Future[HttpReply]:
        held.append(asyncio.get_running_loop().create_future())
        return held[-1]

    async with listening(handle) as (port, _, service):
        told = service.to_replies = Mock()
        async with connected(port) as one, connected(port) as two, connected(port) as three:
            for count, wire in enumerate((one, two, three), 1):
                await wire.send(post(b"{}"))
                await within(lambda: len(held) == count, "the request")  # noqa: B023
            assert told.expect.call_count == 2
            for answer in held:
                answer.set_result(HttpReply(200, (), b"{}"))
            assert [(await wire.reply()).status for wire in (one, two, three)] == [200] * 3
