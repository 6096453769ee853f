"""The limits of the listener, each with a clear refusal, a log line and a metric."""

import asyncio
import contextlib
from pathlib import Path

import pytest

from tests.harness.listener import Watching, echo, listening
from tests.harness.mcp_server import Peer, Received
from tests.harness.proxy_process import RULES, Proxy, fronted
from tests.harness.wait import run, within
from tests.harness.wire import Cut, Reply, ask, call, connected, get, post
from thoughtgate_proxy.core.config.values import Limits
from thoughtgate_proxy.core.memory_budget import Budget
from thoughtgate_proxy.core.protocol.http import HttpReply, HttpRequest
from thoughtgate_proxy.listeners.server import HttpServer, listen, port_of
from thoughtgate_proxy.listeners.service import Service


def chunked(*pieces: bytes) -> bytes:
    head = b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


LIMIT_OF = {413: "request_body_bytes", 431: "header_block_bytes"}
SMALL = Limits(request_body_bytes=1024, header_block_bytes=1024)
REQUESTS = {
    "as long as allowed": (200, post(b"x" * 1024)),
    "a byte too long": (413, post(b"x" * 1025)),
    "far too long, told before": (413, post(b"", "Content-Length: 99999999999")),
    "chunks as long as allowed": (200, chunked(b"x" * 1000, b"y" * 24)),
    "chunks a byte too long": (413, chunked(b"x" * 1000, b"y" * 25)),
    "a header block too long": (431, post(b"", "X-A: " + "a" * 1000)),
    "many headers": (431, post(b"", *[f"X-{number}: {'a' * 40}" for number in range(30)])),
    "more headers than are counted": (431, post(b"", *["X: y"] * 300)),
    "a header beyond the parser's limit": (431, post(b"", "X-A: " + "a" * 70_000)),
    "a path beyond the parser's limit": (431, post(b"", target="/" + "a" * 70_000)),
    "a continuation expected": (200, post(b"x", "Expect: 100-continue")),
    "a miracle expected": (417, post(b"x", "Expect: a-miracle")),
}


@pytest.mark.parametrize("name", REQUESTS)
@run
async def test_a_limit_has_words(name: str) -> None:
    status, data = REQUESTS[name]
    async with listening(limits=SMALL) as (port, watch, _):
        async with connected(port) as wire:
            await wire.send(data)
            reply = await wire.reply()
            assert reply.status == status
            if status != 200:
                assert reply.json["error"]["message"]
                assert watch.refusals == [status]
                assert watch.limits == [LIMIT_OF.get(status)]
                wire.writer.write_eof()
                await wire.closed()
        # Others are served on.
        assert (await ask(port, post(b"{}"))).body == b"{}"


@run
async def test_a_client_that_waits_for_the_continuation_gets_it() -> None:
    async with listening() as (port, _, _listener), connected(port) as wire:
        await wire.send(post(b"", "Expect: 100-continue", "Content-Length: 2"))
        assert (await wire.any_head()).status == 100
        await wire.send(b"{}")
        assert (await wire.reply()).body == b"{}"


@pytest.mark.parametrize("kind", ["with a length", "in chunks"])
@run
async def test_a_body_that_trickles_is_refused(kind: str) -> None:
    async with listening(seconds=0.3) as (port, watch, _), connected(port) as wire:
        begin = post(b"", "Content-Length: 9999") if kind == "with a length" else chunked()[:-5]
        await wire.send(begin)

        async def trickle() -> None:
            while True:
                await wire.send(b"x" if kind == "with a length" else b"1\r\nx\r\n")
                await asyncio.sleep(0.02)

        trickling = asyncio.create_task(trickle())
        reply = await wire.reply()
        trickling.cancel()
        assert reply.status == 408
        assert watch.refusals == [408]


@pytest.mark.parametrize("begin", [b"", b"POST / HTTP/1.1\r\nHost: loc"], ids=["none", "half"])
@pytest.mark.parametrize("used", [False, True])
@run
async def test_a_connection_without_a_whole_head_is_closed(begin: bytes, used: bool) -> None:
    async with listening(idle=1.0) as (port, watch, _), connected(port) as wire:
        if used:
            await wire.send(post(b"{}"))
            assert (await wire.reply()).status == 200
        await wire.send(begin)
        if begin:
            assert (await wire.reply()).status == 408
        wire.writer.write_eof()
        await wire.closed()
        assert watch.refusals == ([408] if begin else [])
        assert not watch.breaks


@run
async def test_bodies_share_the_memory() -> None:
    go = asyncio.Event()

    async def slow(request: HttpRequest) -> HttpReply:
        await go.wait()
        return await echo(request)

    async with listening(slow, memory=1 << 18) as (port, watch, _):
        assert (await ask(port, post(b"x" * 80_000))).status == 413
        assert (await ask(port, post(b"[" * 3000))).status == 413
        first = asyncio.create_task(ask(port, post(b"x" * 40_000)))
        await within(lambda: watch.active, "the first body")
        assert (await ask(port, post(b"x" * 40_000))).status == 503
        go.set()
        assert (await first).status == 200
        assert (await ask(port, post(b"x" * 40_000))).status == 200
        assert watch.refusals == [413, 413, 503]
        assert watch.limits == ["memory_bytes"] * 3


@run
async def test_whole_calls_win_over_bodies_that_are_slow() -> None:
    async with listening(memory=1 << 20) as (port, watch, listener):
        async with contextlib.AsyncExitStack() as slow:
            for size in (300_000, 80_000, 80_000, 40_000, 16_000):
                wire = await slow.enter_async_context(connected(port))
                await wire.send(post(b"", f"Content-Length: {size}") + b"x" * (size - 1))
            await within(lambda: listener.budget.taken > 0.8 * listener.budget.unreserved, "them")
            assert (await ask(port, post(b"{}"))).status == 200
            assert not watch.refusals
            assert (await ask(port, post(b"x" * 60_000))).status == 200
        assert watch.refusals == [503]
        assert watch.limits == ["memory_bytes"]


@run
async def test_the_idlest_connection_goes_where_there_are_too_many() -> None:
    go = asyncio.Event()

    async def slow(request: HttpRequest) -> HttpReply:
        await go.wait()
        return await echo(request)

    async with (
        listening(slow, Limits(connections=4), idle=60.0) as (port, watch, _),
        contextlib.AsyncExitStack() as stack,
    ):
        wires = [await stack.enter_async_context(connected(port)) for _ in range(4)]
        await wires[1].send(post(b"[1]"))
        await within(lambda: watch.active, "the call")
        await wires[2].send(b"POST / HTTP/1.1\r\nHost: loc")
        more = [await stack.enter_async_context(connected(port)) for _ in range(2)]
        assert (await wires[2].reply()).status == 503
        await wires[0].closed()
        assert watch.limits == ["connections"] * 2
        for wire in (wires[3], *more):
            await wire.send(post(b"[2]"))
        await within(lambda: watch.active == 4, "all four")
        assert (await ask(port, post(b"[3]"))).status == 503
        go.set()
        assert [(await wire.reply()).status for wire in (wires[1], *more)] == [200] * 3


@run
async def test_requests_beyond_the_limit_are_refused() -> None:
    go = asyncio.Event()

    async def slow(_: HttpRequest) -> HttpReply:
        await go.wait()
        return HttpReply(200, [], b"")

    async with listening(slow, Limits(concurrent_requests=2)) as (port, watch, _):
        under_way = [asyncio.create_task(ask(port, post(b"{}"))) for _ in range(2)]
        await within(lambda: watch.active == 2, "two requests")
        assert (await ask(port, post(b"{}"))).status == 503
        assert watch.limits == ["concurrent_requests"]
        go.set()
        assert [reply.status for reply in await asyncio.gather(*under_way)] == [200, 200]
        assert (await ask(port, post(b"{}"))).status == 200


@run
async def test_a_mistake_of_ours_is_an_answer_with_words() -> None:
    async def broken(_: HttpRequest) -> HttpReply:
        raise LookupError("a secret")

    async with listening(broken) as (port, watch, _):
        reply = await ask(port, post(b"{}"))
        assert reply.status == 500
        assert "let nothing pass" in reply.json["error"]["message"]
        assert b"secret" not in reply.body
        assert watch.breaks == ["LookupError('a secret')"]


@run
async def test_a_connection_that_breaks_in_our_hands_is_just_closed() -> None:
    async def broken(_: HttpRequest) -> HttpReply:
        raise ConnectionResetError

    async with listening(broken) as (port, watch, _):
        with pytest.raises(Cut):
            await ask(port, post(b"{}"))
        assert not watch.breaks


@pytest.mark.parametrize("later", [False, True], ids=["at once", "later"])
@pytest.mark.parametrize("first", ["a body", "no body", "chunks", "a long body"])
@run
async def test_bytes_behind_an_unanswered_request_end_the_connection(
    first: str, later: bool
) -> None:
    handled: list[str] = []
    go = asyncio.Event()

    async def handle(request: HttpRequest) -> HttpReply:
        handled.append(request.method)
        await go.wait()
        return await echo(request)

    sent = {
        "a body": post(b"[1]"),
        "no body": get(method="DELETE"),
        "chunks": chunked(b"[1", b"]"),
        "a long body": post(b"[" + b" " * 100_000 + b"1]"),
    }[first]
    async with listening(handle) as (port, watch, _), connected(port) as wire:
        await wire.send(sent + (b"" if later else get() * 4))
        await within(lambda: handled, "the first request")
        if later:
            await wire.send(get() * 1000)
            await asyncio.sleep(0.05)
        go.set()
        reply = await wire.reply()
        assert reply.status == 200
        assert reply.header("connection") == "close"
        wire.writer.write_eof()
        await wire.closed()
        assert len(handled) == 1
        assert not watch.refusals


TOGETHER = {
    "not HTTP": b"GARBAGE\r\n\r\n",
    "a coding that is not read": post(b"", "Transfer-Encoding: gzip, chunked"),
    "two hosts": post(b"{}", "Host: a", "Host: a"),
    "chunks in HTTP/1.0": chunked().replace(b"HTTP/1.1", b"HTTP/1.0"),
    "a body too long": post(b"", "Content-Length: 99999999"),
    "another version": post(b"{}").replace(b"HTTP/1.1", b"HTTP/2.0"),
}


@pytest.mark.parametrize("name", TOGETHER)
@run
async def test_what_came_with_a_request_is_never_one_of_its_own(name: str) -> None:
    """Perhaps the request before it was not meant to end where we saw its end."""
    handled = []

    async def handle(request: HttpRequest) -> HttpReply:
        handled.append(request)
        return await echo(request)

    async with listening(handle) as (port, _, _listener), connected(port) as wire:
        await wire.send(post(b"{}") + TOGETHER[name])
        assert len(await wire.replies()) == 1
        assert len(handled) <= 1


@run
async def test_an_offer_of_another_protocol_is_ignored_with_all_that_follows_it_read() -> None:
    offer = post(b"[1]", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: x")
    async with listening() as (port, _, _listener):
        for cut in (0, 20, len(offer) - 1):
            async with connected(port) as wire:
                await wire.send(offer[:cut])
                await asyncio.sleep(0.01 if cut else 0)
                await wire.send(offer[cut:])
                assert (await wire.reply()).body == b"[1]"
                await wire.send(post(b"[2]"))
                assert (await wire.reply()).body == b"[2]"


@run
async def test_a_request_is_read_the_same_wherever_it_is_cut() -> None:
    whole = post(b"[1]")
    async with listening() as (port, _, _listener), connected(port) as wire:
        for cut in range(1, len(whole)):
            await wire.send(whole[:cut])
            await asyncio.sleep(0.001)
            await wire.send(whole[cut:])
            reply = await wire.reply()
            assert reply.body == b"[1]"
            assert reply.header("connection") is None


@run
async def test_limits_are_those_in_force() -> None:
    limits = [Limits()]
    server = HttpServer(Service(echo, lambda: limits[-1], Watching(), Budget(1 << 20)))
    (bound,) = await listen(server, ["127.0.0.1"], 0)
    for key, status in (("batch", 200), ("request_body_bytes", 413), ("header_block_bytes", 431)):
        limits.append(Limits(**{key: 2}))
        assert (await ask(port_of(bound), post(b"[1]"))).status == status
    bound.close()
    await server.shutdown(1.0)


def test_refusals_of_the_listener_are_logged_and_counted(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with fronted(tmp_path, RULES + "limits: {request_body_bytes: 1024}\n") as (_, proxy):
            assert (await ask(proxy.port, post(b"x" * 2000))).status == 413
            assert (await ask(proxy.port, b"\x00\r\n\r\n")).status == 400
            await proxy.line("refused", status=413)
            line = await proxy.line("refused", status=400)
            assert line["principal"] == "data/agent"
            metrics = await proxy.metrics()
            for kind in ("limit_request_body_bytes", "http_400"):
                series = f'thoughtgate_errors_total{{error_type="{kind}",method=""}}'
                assert metrics[series] == 1

    test()


async def flooded(proxy: Proxy) -> Reply:
    """Ask until the log is stuck; the last reply."""
    for _ in range(2000):
        reply = await ask(proxy.port, post(call("get_user_" + "x" * 1000)))
        if reply.status != 200:
            return reply
    raise AssertionError("the log never got stuck")


def test_a_stuck_log_stops_what_would_go_to_a_server_and_nothing_else(tmp_path: Path) -> None:
    async def script(_: Received, peer: Peer) -> None:
        await peer.reply(b'{"jsonrpc":"2.0","id":1,"result":{}}')

    @run
    async def test() -> None:
        async with fronted(tmp_path) as (server, proxy):
            server.script = script
            proxy.drained.clear()
            reply = await flooded(proxy)
            assert reply.status == 503
            assert reply.json["error"]["code"] == 50301
            sent = len(server.received)
            assert (await ask(proxy.port, post(call("get_user")))).status == 503
            assert (await proxy.admin("/ready")).status == 200
            ping = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
            assert (await ask(proxy.port, post(ping))).status == 503
            assert len(server.received) == sent
            assert any("log_stuck" in name for name in await proxy.metrics())
            proxy.drained.set()
            await within(lambda: len(proxy.forwarded()) == sent, "all of the lines")
            assert (await ask(proxy.port, post(call("get_user")))).status == 200

    test()
