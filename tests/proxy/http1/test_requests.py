"""The limits of the listener, each with a clear refusal, a log line and a metric."""

import asyncio
from pathlib import Path

import pytest

from tests.harness.listener import Watching, echo, listening
from tests.harness.mcp_server import Peer, Received
from tests.harness.proxy_process import RULES, Proxy, fronted
from tests.harness.wait import run, within
from tests.harness.wire import Cut, Reply, ask, call, connected, post
from thoughtgate_proxy.core.config.values import Limits
from thoughtgate_proxy.core.protocol.http import HttpReply, HttpRequest
from thoughtgate_proxy.http1.memory import Budget
from thoughtgate_proxy.http1.server import HttpServer, listen, port_of
from thoughtgate_proxy.http1.service import Service


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
        await wire.closed()
        assert not watch.refusals
        assert not watch.breaks


@run
async def test_bodies_share_the_memory() -> None:
    go = asyncio.Event()

    async def slow(request: HttpRequest) -> HttpReply:
        await go.wait()
        return await echo(request)

    async with listening(slow, memory=10_000) as (port, watch, _):
        assert (await ask(port, post(b"x" * 3334))).status == 413
        assert (await ask(port, post(b"[" * 99))).status == 413
        first = asyncio.create_task(ask(port, post(b"x" * 3000)))
        await within(lambda: watch.active, "the first body")
        assert (await ask(port, post(b"x" * 3000))).status == 503
        go.set()
        assert (await first).status == 200
        assert (await ask(port, post(b"x" * 3000))).status == 200
        assert watch.refusals == [413, 413, 503]
        assert watch.limits == ["memory_bytes"] * 3


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


@run
async def test_thousands_of_requests_in_one_write_are_answered_in_their_order() -> None:
    def at_once(request: HttpRequest) -> HttpReply:
        return HttpReply(200, [], request.body)

    async with listening(at_once) as (port, _, _listener), connected(port) as wire:
        count = 3000
        await wire.send(b"".join(post(b"%d" % number) for number in range(count)))
        for number in range(count):
            assert (await wire.reply()).body == b"%d" % number


TOGETHER = {
    "not HTTP": ([400], b"GARBAGE\r\n\r\n"),
    "a coding that is not read": ([400], post(b"", "Transfer-Encoding: gzip, chunked")),
    "two hosts": ([400], post(b"{}", "Host: a", "Host: a")),
    "chunks in HTTP/1.0": ([400], chunked().replace(b"HTTP/1.1", b"HTTP/1.0")),
    "a body too long": ([200, 413], post(b"", "Content-Length: 99999999")),
    "another version": ([200, 505], post(b"{}").replace(b"HTTP/1.1", b"HTTP/2.0")),
}


@pytest.mark.parametrize("name", TOGETHER)
@run
async def test_bytes_that_are_not_http_spoil_what_came_with_them(name: str) -> None:
    """Perhaps the request before them was not meant to end where we saw its end."""
    statuses, after = TOGETHER[name]
    handled = []

    async def handle(request: HttpRequest) -> HttpReply:
        handled.append(request)
        return await echo(request)

    async with listening(handle) as (port, _, _listener), connected(port) as wire:
        await wire.send(post(b"{}") + after)
        assert [reply.status for reply in await wire.replies()] == statuses
        assert len(handled) == statuses.count(200)


@run
async def test_an_offer_of_another_protocol_is_ignored_with_all_that_follows_it_read() -> None:
    offer = post(b"[1]", "Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: x")
    async with listening() as (port, _, _listener):
        for cut in (0, 20, len(offer) - 1):
            async with connected(port) as wire:
                await wire.send(offer[:cut])
                await asyncio.sleep(0.01 if cut else 0)
                await wire.send(offer[cut:] + post(b"[2]"))
                assert (await wire.reply()).body == b"[1]"
                assert (await wire.reply()).body == b"[2]"


@run
async def test_a_head_that_was_met_before_is_read_as_at_first() -> None:
    sent, limits = post(b"[1]"), [Limits()]
    service = Service(echo, lambda: limits[-1], Watching(), Budget(1 << 20))
    server = HttpServer(service)
    (bound,) = await listen(server, ["127.0.0.1"], 0)
    port = port_of(bound)
    for data, statuses, bodies in (
        (sent, [200], [b"[1]"]),
        (sent, [200], [b"[1]"]),
        (sent.replace(b"[1]", b"[2]"), [200], [b"[2]"]),
        (sent + sent, [200, 200], [b"[1]", b"[1]"]),
        (sent + b"]", [400], []),
        (sent + sent[:-3] + b"[3]", [200, 200], [b"[1]", b"[3]"]),
    ):
        for cut in (0, 5, sent.index(b"[1]"), len(sent) - 1):
            async with connected(port) as wire:
                await wire.send(data[:cut])
                await asyncio.sleep(0.01 if cut else 0)  # two pieces, as far as one can have it
                await wire.send(data[cut:])
                replies = await wire.replies(len(statuses))
                if statuses != [400] or cut < len(sent) - 1:
                    assert [reply.status for reply in replies] == statuses
                    assert [reply.body for reply in replies if reply.status == 200] == bodies
    assert service.known.get(sent[:-3]) is not None
    for key, status in (("request_body_bytes", 413), ("header_block_bytes", 431)):
        limits.append(Limits(**{key: 2}))
        assert (await ask(port, sent)).status == status
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


def test_a_stuck_log_stops_gated_calls_and_nothing_else(tmp_path: Path) -> None:
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
            assert (await ask(proxy.port, post(ping))).status == 200
            assert len(server.received) == sent + 1
            assert any("log_stuck" in name for name in await proxy.metrics())
            proxy.drained.set()
            await within(lambda: len(proxy.forwarded()) == sent, "all of the lines")
            assert (await ask(proxy.port, post(call("get_user")))).status == 200

    test()
