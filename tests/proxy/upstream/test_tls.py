"""A server over TLS: whom it must be certified by, and what is said when it is not."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.harness.authority import Authority
from tests.harness.mcp_server import FakeMcpServer
from tests.harness.proxy_process import RULES, Proxy, config, started
from tests.harness.wait import run, within
from tests.harness.wire import ask, call, post

HOST = "127.0.0.1"


@asynccontextmanager
async def fronted(
    folder: Path, tls: ssl.SSLContext, ca_file: Path | None = None, **env: str
) -> AsyncIterator[tuple[FakeMcpServer, Proxy]]:
    """A server with that TLS, and the proxy before it."""
    source = f", timeouts: {{connect: 2s}}{f', ca_file: {ca_file}' if ca_file else ''}"
    async with FakeMcpServer(tls=tls) as server:
        text = config(server.url + "/secret-path", RULES, source)
        async with started(folder, text, env=env) as proxy:
            yield server, proxy


async def refused(server: FakeMcpServer, proxy: Proxy, reason: str) -> None:
    """A call must end without the server's having seen it; the log says why, the answer not."""
    for _ in range(2):
        reply = await ask(proxy.port, post(call("get_user")))
        assert (reply.status, reply.json["error"]["code"]) == (502, 50201)
        assert reply.json["error"]["message"] == "the MCP server cannot be reached"
        assert str(server.port).encode() not in reply.body
        assert b"secret-path" not in reply.body
    line = await proxy.line("upstream failed", kind="upstream_down")
    assert reason in line["reason"]
    assert not server.received


# What the server's TLS is, and what the log says of it; None: the call passes.
SERVERS: dict[str, tuple[Callable[[Path, Authority], ssl.SSLContext], str | None]] = {
    "its own authority": (lambda _, own: own.server(HOST), None),
    "another authority": (
        lambda folder, _: Authority(folder / "other").server(HOST),
        "the server's certificate is refused: unable to get local issuer certificate",
    ),
    "another host name": (
        lambda _, own: own.server("elsewhere.test"),
        "the server's certificate is refused: IP address mismatch",
    ),
    "expired": (
        lambda _, own: own.server(HOST, expired=True),
        "the server's certificate is refused: certificate has expired",
    ),
    "rather HTTP/2": (lambda _, own: own.server(HOST, alpn=("h2", "http/1.1")), None),
}


@pytest.mark.parametrize("name", SERVERS)
def test_a_server_must_be_certified_by_its_authority(tmp_path: Path, name: str) -> None:
    make, reason = SERVERS[name]

    @run
    async def test() -> None:
        own = Authority(tmp_path / "own")
        async with fronted(tmp_path, make(tmp_path, own), own.file) as (server, proxy):
            if reason is not None:
                await refused(server, proxy, reason)
                return
            reply = await ask(proxy.port, post(call("get_user")))
            assert (reply.status, b"did get_user" in reply.body) == (200, True)
            tls = server.connections[0].writer.get_extra_info("ssl_object")
            assert tls.selected_alpn_protocol() == "http/1.1"
            assert tls.version() == "TLSv1.3"

    test()


@pytest.mark.parametrize("trusted", [True, False])
def test_without_a_ca_file_the_systems_trust_counts(tmp_path: Path, trusted: bool) -> None:
    @run
    async def test() -> None:
        own = Authority(tmp_path / "own")
        env = {"SSL_CERT_FILE": str(own.file)} if trusted else {}
        async with fronted(tmp_path, own.server(HOST), None, **env) as (server, proxy):
            if trusted:
                assert (await ask(proxy.port, post(call("get_user")))).status == 200
            else:
                await refused(server, proxy, "unable to get local issuer certificate")

    test()


def test_a_file_of_certificates_that_is_missing_is_a_mistake(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        text = config("https://mcp.test")
        env = {"SSL_CERT_FILE": "/nowhere/ca.pem"}
        async with started(tmp_path, text, env=env, ready=False, quiet=False) as proxy:
            line = await proxy.line("cannot start")
            told = "sources[0].url: SSL_CERT_FILE: `/nowhere/ca.pem`: No such file or directory"
            assert told in line["mistakes"][0]

    test()


def test_a_ca_file_stands_in_place_of_the_systems_trust(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        own, other = Authority(tmp_path / "own"), Authority(tmp_path / "other")
        env = {"SSL_CERT_FILE": str(own.file)}
        async with fronted(tmp_path, own.server(HOST), other.file, **env) as (server, proxy):
            await refused(server, proxy, "unable to get local issuer certificate")

    test()


@pytest.mark.parametrize("tickets", [2, 0])
def test_connections_are_used_again(tmp_path: Path, tickets: int) -> None:
    """TLS 1.3 sends its tickets after the handshake, which must not pass for unasked bytes."""

    @run
    async def test() -> None:
        own = Authority(tmp_path / "own")
        tls = own.server(HOST)
        tls.num_tickets = tickets
        async with fronted(tmp_path, tls, own.file) as (server, proxy):
            for _ in range(20):
                assert (await ask(proxy.port, post(call("get_user")))).status == 200
            assert len(server.connections) == 1
            # An end of TLS while idle is seen, and the next call has a new connection.
            server.connections[0].close()
            assert (await ask(proxy.port, post(call("get_user")))).status == 200
            assert len(server.connections) == 2

    test()


def test_the_handshake_counts_as_connecting(tmp_path: Path) -> None:
    gone = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while await reader.read(1 << 16):
                pass
        gone.set()
        writer.close()

    @run
    async def test() -> None:
        server = await asyncio.start_server(silent, HOST, 0)
        url = f"https://{HOST}:{server.sockets[0].getsockname()[1]}"
        text = config(url, RULES, ", timeouts: {connect: 300ms}")
        async with server, started(tmp_path, text) as proxy:
            reply = await ask(proxy.port, post(call("get_user")))
            assert (reply.status, reply.json["error"]["code"]) == (504, 50401)
            line = await proxy.line("upstream failed", kind="upstream_timeout")
            assert line["reason"] == "no connection within 0.3 s"
            await within(gone.is_set, "the end of the connection")

    test()


def test_a_server_without_tls_is_told(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with FakeMcpServer() as server:
            text = config(server.url.replace("http:", "https:"), RULES)
            async with started(tmp_path, text) as proxy:
                # The fake would wait for the end of a header block that never comes.
                asking = asyncio.create_task(ask(proxy.port, post(call("get_user"))))
                await within(lambda: server.connections, "the connection")
                await server.connections[0].reply(status=400)
                assert (await asking).status == 502
                line = await proxy.line("upstream failed", kind="upstream_down")
            assert line["reason"] == "no connection: TLS failed: wrong version number"

    test()


def test_a_reload_reads_the_authority_again(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        own, other = Authority(tmp_path / "own"), Authority(tmp_path / "other")
        file = tmp_path / "ca.pem"
        file.write_bytes(other.file.read_bytes())
        async with fronted(tmp_path, own.server(HOST), file) as (server, proxy):
            await refused(server, proxy, "unable to get local issuer certificate")
            file.write_bytes(own.file.read_bytes())
            proxy.write(proxy.path.read_text().replace("admin_*", "other_*"))
            await proxy.line("configuration in force", reload=True)
            assert (await ask(proxy.port, post(call("get_user")))).status == 200
            file.write_text("no certificate")
            proxy.write(proxy.path.read_text().replace("other_*", "third_*"))
            kept = "the changed configuration is refused; the last good one stays in force"
            line = await proxy.line(kept)
            assert (
                f"sources[0].ca_file: `{file}`: it holds no certificates in PEM"
                in line["mistakes"][0]
            )
            assert (await ask(proxy.port, post(call("get_user")))).status == 200

    test()
