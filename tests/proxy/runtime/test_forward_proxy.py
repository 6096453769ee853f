"""Which servers are reached through a proxy, and what the proxy may say to it."""

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.harness.authority import Authority
from tests.harness.forward_proxy import FakeForwardProxy
from tests.harness.mcp_server import FakeMcpServer
from tests.harness.proxy_process import RULES, Proxy, config, started
from tests.harness.wait import run, soon, within
from tests.harness.wire import ask, call, post
from thoughtgate_proxy.runtime.forward_proxy import (
    ForwardProxy,
    ProxyWrong,
    goes_direct,
    named,
)

NAME = "mcp.example.test"


@asynccontextmanager
async def fronted(
    folder: Path,
    *names: str,
    user: str = "",
    variable: str = "HTTPS_PROXY",
    answer: bytes | None = None,
    **env: str,
) -> AsyncIterator[tuple[FakeMcpServer, FakeForwardProxy, Proxy]]:
    """A server whose name only the forward proxy knows, and our proxy before both."""
    own = Authority(folder / "own")
    async with (
        FakeMcpServer(tls=own.server(*names or (NAME,))) as server,
        FakeForwardProxy(server.port) as forward,
    ):
        if answer is not None:
            forward.answer = answer
        url = f"https://{NAME}:{server.port}"
        text = config(url, RULES, f", timeouts: {{connect: 3s}}, ca_file: {own.file}")
        env = {variable: f"http://{user}127.0.0.1:{forward.port}", "NO_PROXY": "", **env}
        async with started(folder, text, env=env) as proxy:
            yield server, forward, proxy


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy"])
def test_a_server_is_reached_through_one_tunnel(tmp_path: Path, variable: str) -> None:
    @run
    async def test() -> None:
        async with fronted(tmp_path, variable=variable) as (server, forward, proxy):
            for _ in range(5):
                reply = await ask(proxy.port, post(call("get_user")))
                assert (reply.status, b"did get_user" in reply.body) == (200, True)
            at = f"{NAME}:{server.port}".encode()
            assert forward.requests == [b"CONNECT %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (at, at)]
            assert server.received[0].header("host") == at.decode()
            assert server.received[0].target == "/"

    test()


def test_the_proxys_credentials_reach_the_proxy_alone(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with fronted(tmp_path, user="me:p%40ss:w%C3%A9@") as (server, forward, proxy):
            assert (await ask(proxy.port, post(call("get_user")))).status == 200
            value = base64.b64encode("me:p@ss:wé".encode())
            assert b"\r\nProxy-Authorization: Basic " + value + b"\r\n" in forward.requests[0]
            assert server.received[0].header("proxy-authorization") is None
            assert "p%40ss" not in str(proxy.lines)

    test()


REFUSING = {
    "forbidden": (b"HTTP/1.1 403 Not this\r\n\r\n", "refuses the tunnel with `403 Not this`"),
    "credentials": (b"HTTP/1.1 407 Who\r\n\r\n", "`407 Who`: set user and password in its URL"),
    "no words": (b"HTTP/1.0 503\r\nContent-Length: 1\r\n\r\nx", "refuses the tunnel with `503`"),
    "not HTTP": (b"SSH-2.0-x\r\n\r\n", "does not speak HTTP"),
    "too much": (b"HTTP/1.1 200 Yes\r\n\r\nHello", "sent more than its answer"),
    "endless": (b"HTTP/1.1 200 Yes\r\n" + b"X: y\r\n" * 20_000, "are longer than 65536 bytes"),
    "the end": (b"", "closed its connection"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSING)
def test_a_refused_tunnel_is_told_in_the_log(tmp_path: Path, name: str) -> None:
    answer, reason = REFUSING[name]

    @run
    async def test() -> None:
        async with fronted(tmp_path, answer=answer) as (server, forward, proxy):
            reply = await ask(proxy.port, post(call("get_user")))
            assert (reply.status, reply.json["error"]["code"]) == (502, 50201)
            assert reply.json["error"]["message"] == "the MCP server cannot be reached"
            line = await proxy.line("upstream failed", kind="upstream_down")
            assert reason in line["reason"]
            await within(lambda: forward.gone == 1, "the end of the proxy's connection")
            assert not server.connections

    test()


def test_through_a_tunnel_the_servers_own_certificate_counts(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with fronted(tmp_path, "127.0.0.1") as (server, forward, proxy):
            assert (await ask(proxy.port, post(call("get_user")))).status == 502
            line = await proxy.line("upstream failed", kind="upstream_down")
            assert "certificate is refused: Hostname mismatch" in line["reason"]
            await within(lambda: forward.gone == 1, "the end of the proxy's connection")
            assert not server.received

    test()


def test_a_silent_or_absent_proxy_is_told(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        half = b"HTTP/1.1 200 Y"
        async with fronted(tmp_path, answer=half) as (_, forward, proxy):
            reply = await ask(proxy.port, post(call("get_user")))
            assert (reply.status, reply.json["error"]["code"]) == (504, 50401)
            await within(lambda: forward.gone == 1, "the end of the proxy's connection")
            await forward.__aexit__(None, None, None)
            reply = await ask(proxy.port, post(call("get_user")))
            assert (reply.status, reply.json["error"]["code"]) == (502, 50201)
            line = await proxy.line("upstream failed", kind="upstream_down")
            assert "the proxy (HTTPS_PROXY) cannot be reached" in line["reason"]

    test()


def test_plain_http_and_the_pod_itself_need_no_proxy(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with FakeForwardProxy(0) as forward:
            url = f"http://127.0.0.1:{forward.port}"
            env = {"HTTPS_PROXY": url, "HTTP_PROXY": url, "NO_PROXY": ""}
            for kind in ("http", "https"):
                own = Authority(tmp_path / kind)
                tls = own.server("127.0.0.1") if kind == "https" else None
                async with FakeMcpServer(tls=tls) as server:
                    text = config(server.url, RULES, f", ca_file: {own.file}")
                    async with started(tmp_path / kind, text, env=env) as proxy:
                        assert (await ask(proxy.port, post(call("get_user")))).status == 200
            assert not forward.requests

    test()


def test_a_proxy_that_cannot_be_used_is_a_mistake_at_start(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        env = {"HTTPS_PROXY": "socks5://me:secret@proxy:1080"}
        text = config("http://127.0.0.1:9")
        async with started(tmp_path, text, env=env, ready=False, quiet=False) as proxy:
            assert await soon(proxy.process.wait(), "its end") == 1
            line = await proxy.line("cannot start")
            assert line["mistakes"][0].startswith("HTTPS_PROXY: `proxy:1080`, allowed is")
            assert "secret" not in str(proxy.lines)

    test()


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("http://proxy:3128", "proxy", 3128),
        ("http://proxy:3128/", "proxy", 3128),
        ("proxy:3128", "proxy", 3128),
        ("http://proxy", "proxy", 80),
        ("http://[fd00::1]:3128", "fd00::1", 3128),
    ],
)
def test_forms_of_a_proxys_url(text: str, host: str, port: int) -> None:
    assert named({"HTTPS_PROXY": text}) == ForwardProxy(host, port, None)


@pytest.mark.parametrize(
    "text", ["https://p:1", "http://", "http://p:x", "http://p:1/a", "http://[p"]
)
def test_what_is_no_proxy(text: str) -> None:
    with pytest.raises(ProxyWrong, match=r"HTTPS_PROXY: .*allowed is"):
        named({"https_proxy": text})


def test_an_empty_setting_is_none() -> None:
    assert named({}) is None
    assert named({"HTTPS_PROXY": ""}) is None


# NO_PROXY, a server, its port: excepted or not.
EXCEPTIONS = """
*                       a.test          443   yes
a.test                  a.test          443   yes
A.TEST                  a.test          443   yes
a.test                  b.a.test        443   yes
a.test                  ba.test         443   no
a.test                  a.test.b        443   no
.a.test                 b.a.test        443   yes
.a.test                 a.test          443   no
*.a.test                b.a.test        443   yes
*.a.test                a.test          443   no
a.test.                 a.test          443   yes
a.test                  a.test.         443   yes
x,a.test                a.test          443   yes
x,,.svc,.cluster.local  m.ns.svc        443   yes
a.test:443              a.test          443   yes
a.test:443              a.test          8443  no
.a.test:8443            b.a.test        8443  yes
10.1.2.3                10.1.2.3        443   yes
10.1.2.3                10.1.2.4        443   no
10.1.2.3:443            10.1.2.3        443   yes
10.1.2.3:443            10.1.2.3        444   no
2.3                     10.1.2.3        443   no
10.0.0.0/8              10.1.2.3        443   yes
10.9.9.9/8              10.1.2.3        443   yes
10.0.0.0/8              11.1.2.3        443   no
10.0.0.0/33             10.1.2.3        443   no
10.0.0.0/8              a.test          443   no
fd00::/8                fd00::5         443   yes
fd00::5                 fd00:0::5       443   yes
[fd00::5]               fd00::5         443   yes
[fd00::5]:443           fd00::5         443   yes
[fd00::5]:444           fd00::5         443   no
.                       a.test          443   no
:443                    a.test          443   no
none                    localhost       443   yes
none                    a.localhost     443   yes
none                    127.9.9.9       443   yes
none                    ::1             443   yes
none                    a.test          443   no
"""


@pytest.mark.parametrize("line", EXCEPTIONS.strip().splitlines())
def test_exceptions(line: str) -> None:
    setting, host, port, excepted = line.split()
    for name in ("NO_PROXY", "no_proxy"):
        assert goes_direct(host, int(port), {name: setting}) is (excepted == "yes")
