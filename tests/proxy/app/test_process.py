"""The process: how it starts, refuses to, reloads, drains and ends."""

import asyncio
import json
import signal
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.harness.mcp_server import FakeMcpServer, Peer, Received
from tests.harness.proxy_process import RULES, config, fronted, started
from tests.harness.wait import run, soon, within
from tests.harness.wire import Wire, ask, call, connected, post
from tests.proxy.long.draining import drained

URL = "http://127.0.0.1:9"
FROZEN = RULES.replace("governance:", "governance:\n  freeze: true")
KEPT = "the changed configuration is refused; the last good one stays in force"


def refused(
    tmp_path: Path, *words: str, text: str = config(URL), status: int = 1, **options: object
) -> None:
    """The proxy must end with an exit code and say `words`, in the log and for a person."""

    @run
    async def test() -> None:
        async with started(tmp_path, text, ready=False, quiet=False, **options) as proxy:  # type: ignore[arg-type]
            assert await soon(proxy.process.wait(), "its end") == status
            line = await proxy.line("cannot start")
            await within(lambda: len(proxy.errors) > 10, "words on standard error")
        said = " ".join(line["mistakes"])
        for word in words:
            assert word in said, said
            assert word in proxy.errors.decode()
        assert "Traceback" not in proxy.errors.decode()

    test()


def together(tmp_path: Path, *tests: Callable[[Path], Awaitable[None]]) -> None:
    """Run tests that mostly wait, all at once."""

    async def one(test: Callable[[Path], Awaitable[None]]) -> None:
        folder = tmp_path / test.__name__
        folder.mkdir()
        await test(folder)

    @run
    async def all_of_them() -> None:
        await asyncio.gather(*map(one, tests))

    all_of_them()


def test_all_mistakes_of_a_configuration_are_said_at_once(tmp_path: Path) -> None:
    text = config("nowhere", RULES.replace("deny", "dney"))
    refused(tmp_path, "sources[0].url", "governance.rules[0].action", "`dney`", text=text)


def test_all_mistakes_of_the_settings_are_said_at_once(tmp_path: Path) -> None:
    env = {
        "THOUGHTGATE_OUTBOUND_PORT": "70000",
        "THOUGHTGATE_LOG_LEVEL": "loud",
        "THOUGHTGATE_BIND": "127.0.0.1,",
        "THOUGHTGATE_GRACE_SECONDS": "-1",
    }
    refused(tmp_path, *env, env=env)


@pytest.mark.parametrize("words", ["team/", None])
def test_an_identity_that_is_none_is_refused(tmp_path: Path, words: str | None) -> None:
    refused(tmp_path, "identity", "team/app", identity=words)


def test_a_credential_that_is_missing_is_refused(tmp_path: Path) -> None:
    source = ", headers: {Authorization: {file: token}, X-Key: {env: NO_SUCH_VARIABLE}}"
    # Not its name: it may be the credential, written in the name's place.
    words = ("sources[0].headers.*.env: its variable is not set",)
    refused(tmp_path, *words, text=config(URL, source=source))


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refused(tmp_path, port, "in use", env={"THOUGHTGATE_OUTBOUND_PORT": port})


def test_the_identity_of_the_first_start_is_kept(tmp_path: Path) -> None:
    labels = tmp_path / "labels"

    @run
    async def test() -> None:
        labels.write_text('app="payer"\nteam="finance"\n')
        async with started(tmp_path, config(URL), identity=None) as proxy:
            assert (await proxy.line("ready"))["principal"] == "finance/payer"
        labels.write_text('app="admin"\nteam="root"\n')
        async with started(tmp_path, config(URL), identity=None) as proxy:
            assert (await proxy.line("ready"))["principal"] == "finance/payer"

    test()


def test_a_kept_identity_that_is_broken_is_refused(tmp_path: Path) -> None:
    (tmp_path / "labels").write_text('app="payer"\n')
    (tmp_path / "identity.json").write_text('{"app": "a\\"\\nteam=\\"root"}')
    refused(tmp_path, "no label", identity=None)


def test_the_name_of_the_pod_stands_in_for_a_label(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        (tmp_path / "labels").write_text('team="x"\n')
        env = {"POD_NAME": "agent-7", "POD_NAMESPACE": "ns"}
        async with started(tmp_path, config(URL), identity=None, env=env) as proxy:
            assert (await proxy.line("ready"))["principal"] == "x/agent-7"
            await proxy.line("the pod has no app label, so its name is the principal")

    test()


def test_health_and_readiness(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with fronted(tmp_path) as (_, proxy):
            digest = (await proxy.line("ready"))["config"]
            assert (await proxy.admin("/health")).json == {"status": "ok"}
            ready = (await proxy.admin("/ready")).json
            assert ready["status"] == "ready"
            assert ready["config"] == digest
            metrics = await proxy.metrics()
            assert metrics["thoughtgate_config_last_reload_successful"] == 1
            assert metrics[f'thoughtgate_config_info{{digest="{digest}"}}'] == 1
            assert (await proxy.admin("/")).status == 404
            assert (await ask(proxy.admin_port, post(b"{}", target="/ready"))).status == 405
            garbage = await ask(proxy.admin_port, b"\x00\r\n\r\n")
            assert garbage.json["error"]["message"].startswith("the request is not HTTP")

    test()


async def edited(folder: Path) -> None:
    """A changed file is in force soon, and a bad one refused."""
    async with fronted(folder) as (server, proxy):
        proxy.write(config(server.url, FROZEN))
        await proxy.line("configuration in force")
        reply = await ask(proxy.port, post(call("get_user")))
        assert "frozen" in reply.json["result"]["content"][0]["text"]
        assert not server.received

        proxy.write(config(server.url, "governance: {}"))
        line = await proxy.line(KEPT)
        assert "governance.defaults" in line["mistakes"][0]
        ready = (await proxy.admin("/ready")).json
        assert ready["refused_config"] == [f"{proxy.path}:4:13: governance.defaults: missing"]
        assert ready["refused_since"].endswith("+00:00")
        metrics = await proxy.metrics()
        assert metrics["thoughtgate_config_refused_since_timestamp_seconds"] > 1e9
        assert (await proxy.metrics())["thoughtgate_config_last_reload_successful"] == 0
        reply = await ask(proxy.port, post(call("get_user")))
        assert "frozen" in reply.json["result"]["content"][0]["text"]

        since = len(proxy.lines)
        proxy.write(config(server.url))
        await proxy.line("configuration in force", since)
        assert "result" in (await ask(proxy.port, post(call("get_user")))).json
        metrics = await proxy.metrics()
        assert metrics["thoughtgate_config_last_reload_successful"] == 1
        assert metrics["thoughtgate_config_refused_since_timestamp_seconds"] == 0


async def swapped(folder: Path) -> None:
    """The kubelet's swap of a link is seen within two seconds."""

    def version(name: str, text: str) -> None:
        (folder / name).mkdir()
        (folder / name / "config.yaml").write_text(text)
        (folder / "..data_tmp").symlink_to(name)
        (folder / "..data_tmp").rename(folder / "..data")

    async with FakeMcpServer() as server:
        version("..2026_01", config(server.url))
        (folder / "config.yaml").symlink_to("..data/config.yaml")
        async with started(folder, "") as proxy:
            version("..2026_02", config(server.url, FROZEN))
            loop = asyncio.get_running_loop()
            begun = loop.time()
            await proxy.line("configuration in force")
            assert loop.time() - begun < 2
            reply = await ask(proxy.port, post(call("get_user")))
            assert "frozen" in reply.json["result"]["content"][0]["text"]


async def held(server: FakeMcpServer, wire: Wire) -> asyncio.Event:
    """Make a call that the server answers when the event is set; gives the event."""
    go = asyncio.Event()

    async def script(_: Received, peer: Peer) -> None:
        await go.wait()
        await peer.reply(b'{"jsonrpc":"2.0","id":1,"result":{}}')

    server.script = script
    await wire.send(post(call("get_user")))
    await within(lambda: server.received, "the call at the server")
    return go


async def overtaken(folder: Path) -> None:
    """What is under way ends under the configuration that let it go."""
    async with fronted(folder) as (server, proxy), connected(proxy.port) as wire:
        go = await held(server, wire)
        proxy.write(config(server.url, FROZEN))
        await proxy.line("configuration in force")
        go.set()
        assert (await wire.reply()).json["result"] == {}


def test_it_reloads(tmp_path: Path) -> None:
    together(tmp_path, edited, swapped, overtaken)


async def quiet(folder: Path) -> None:
    """It ends two seconds after the last request, which it still answers."""
    async with fronted(folder) as (_, proxy):
        loop = asyncio.get_running_loop()
        begun = loop.time()
        proxy.process.terminate()
        await proxy.line("stopping: serving on until it is quiet")
        # The agent, which got the signal too, may still ask.
        assert "result" in (await ask(proxy.port, post(call("get_user")))).json
        assert (await proxy.admin("/ready")).status == 200
        assert await soon(proxy.process.wait(), "its end") == 0
        assert loop.time() - begun > 1.9
        await proxy.line("stopped")


async def busy(folder: Path) -> None:
    """A call under way is waited for."""
    async with fronted(folder) as (server, proxy), connected(proxy.port) as wire:
        go = await held(server, wire)
        proxy.process.send_signal(signal.SIGINT)
        await proxy.line("stopping: serving on until it is quiet")
        loop = asyncio.get_running_loop()
        begun = loop.time()
        await within(lambda: loop.time() - begun > 2.3, "more than the quiet that it waits for")
        assert (await proxy.admin("/ready")).status == 200
        go.set()
        assert (await wire.reply()).json["result"] == {}
        assert await soon(proxy.process.wait(), "its end") == 0


async def impatient(folder: Path) -> None:
    """The grace period ends the wait for what does not end, each in its own form."""
    await drained(folder, 1)


def test_it_drains(tmp_path: Path) -> None:
    together(tmp_path, quiet, busy, impatient)


def test_the_same_port_on_both_kinds_of_address(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        env = {"THOUGHTGATE_BIND": "127.0.0.1,::1"}
        async with fronted(tmp_path, env=env) as (_, proxy):
            reader, writer = await asyncio.open_connection("::1", proxy.port)
            writer.write(post(call("get_user"), host=f"[::1]:{proxy.port}"))
            assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"
            writer.close()
            await writer.wait_closed()

    test()


def test_only_the_pod_can_ask_by_default(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with fronted(tmp_path) as (_, proxy):
            with pytest.raises(ConnectionError):
                await asyncio.open_connection("127.0.0.2", proxy.port)
            # The kubelet comes from elsewhere.
            _, writer = await asyncio.open_connection("127.0.0.2", proxy.admin_port)
            writer.close()
            await writer.wait_closed()

    test()


def test_several_sources_answer_each_under_its_id(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with FakeMcpServer() as one, FakeMcpServer() as two:
            text = (
                "schema: 1\nsources:\n"
                f'  - {{id: one, kind: mcp, url: "{one.url}"}}\n'
                f'  - {{id: two, kind: mcp, url: "{two.url}/own?x=1"}}\n' + RULES
            )
            async with started(tmp_path, text) as proxy:
                await ask(proxy.port, post(call("get_user"), target="/one/mcp"))
                await ask(proxy.port, post(call("get_user"), target="/two/mcp"))
                assert [request.target for request in one.received] == ["/mcp"]
                assert [request.target for request in two.received] == ["/own?x=1"]
                assert two.received[0].header("host") == f"127.0.0.1:{two.port}"
                reply = await ask(proxy.port, post(call("get_user"), target="/three"))
                assert reply.status == 404
                assert "`/one`, `/two`" in reply.json["error"]["message"]

    test()


def test_credentials_are_added_and_read_again_when_they_rotate(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        (tmp_path / "token").write_text("first\n")
        source = ', headers: {Authorization: {file: token, prefix: "Bearer "}, X-Fixed: yes!}'
        async with fronted(tmp_path, source=source) as (server, proxy):
            await ask(proxy.port, post(call("get_user"), "Authorization: Bearer agent"))
            (tmp_path / "new").write_text("second")
            (tmp_path / "new").rename(tmp_path / "token")
            await ask(proxy.port, post(call("get_user")))
            (tmp_path / "token").unlink()
            reply = await ask(proxy.port, post(call("get_user")))
            got = [request.header("authorization") for request in server.received]
            assert got == ["Bearer first", "Bearer second"]
            assert server.received[0].header("x-fixed") == "yes!"
            assert reply.json["error"]["code"] == 50201
            assert b"token" not in reply.body

    test()


def test_a_server_that_knows_nothing_at_the_root_gets_a_hint(tmp_path: Path) -> None:
    async def script(_: Received, peer: Peer) -> None:
        await peer.reply(status=404)

    @run
    async def test() -> None:
        async with fronted(tmp_path) as (server, proxy):
            server.script = script
            for _ in range(2):
                assert (await ask(proxy.port, post(call("get_user")))).status == 404
            await within(
                lambda: any("set a path" in line["message"] for line in proxy.lines), "the hint"
            )
        assert sum("404" in line["message"] for line in proxy.lines) == 1

    test()


def test_every_line_is_one_object_and_names_the_principal(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with fronted(tmp_path) as (_, proxy):
            data = call("admin_x", arguments={"password": "hunter2"})
            await ask(
                proxy.port,
                post(data, "Traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            )
            line = await proxy.line("decision")
            assert line["principal"] == "data/agent"
            assert line["traceparent"] == "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
            assert len(line["arguments_digest"]) == 24
            assert "hunter2" not in json.dumps(proxy.lines)
            assert line["time"].endswith("Z")

    test()
