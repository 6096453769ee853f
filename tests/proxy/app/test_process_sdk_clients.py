"""The official SDK's client and server find each other through the proxy, in each revision."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client, types
from mcp.client.context import ClientRequestContext

from tests.harness.proxy_process import RULES, Proxy, config, started
from tests.harness.sdk_server import Seen, serving
from tests.harness.wait import soon

HIDING = ", expose: {mode: blocklist, tools: [hidden_*]}"
MODES = ["legacy", "auto", "2026-07-28"]


class Both:
    """A server, and a proxy before it, in one event loop."""

    def __init__(self, runner: asyncio.Runner, proxy: Proxy, seen: Seen, json: bool) -> None:
        self.runner, self.proxy, self.seen, self.json = runner, proxy, seen, json

    def client(self, mode: str, **options: Any) -> Client:
        return Client(f"http://127.0.0.1:{self.proxy.port}/", mode=mode, **options)


@contextlib.asynccontextmanager
async def opened(folder: Path, json: bool) -> AsyncIterator[tuple[Proxy, Seen]]:
    async with (
        serving(json=json) as (url, seen),
        started(folder, config(url, RULES, HIDING)) as proxy,
    ):
        yield proxy, seen


@pytest.fixture(scope="module", params=[False, True], ids=["events", "json"])
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Both]:
    with asyncio.Runner() as runner:
        context = opened(tmp_path_factory.mktemp("gate"), request.param)
        proxy, seen = runner.run(context.__aenter__())
        yield Both(runner, proxy, seen, request.param)
        runner.run(context.__aexit__(None, None, None))


def text(result: types.CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, types.TextContent)
    return content.text


@pytest.mark.parametrize("mode", MODES)
def test_tools_are_listed_called_and_refused(both: Both, mode: str) -> None:
    async def test() -> None:
        both.seen.calls.clear()
        async with both.client(mode) as client:
            tools = [tool.name for tool in (await client.list_tools()).tools]
            assert "get_user" in tools
            assert "hidden_tool" not in tools
            assert text(await client.call_tool("get_user", {"id": 7})) == "user 7"
            refused = await client.call_tool("admin_reset", {})
            assert refused.is_error
            assert "admin_*" in text(refused)
            with pytest.raises(Exception, match="Unknown tool: hidden_tool"):
                await client.call_tool("hidden_tool", {})
            (content,) = (await client.read_resource("note://hello")).contents
            assert isinstance(content, types.TextResourceContents)
            assert content.text == "a note"
            assert (await client.get_prompt("greet", {"name": "x"})).messages
        assert both.seen.calls == ["get_user"]

    both.runner.run(test())


@pytest.mark.parametrize("mode", MODES)
def test_progress_is_told_while_the_call_runs(both: Both, mode: str) -> None:
    steps: list[tuple[float, str | None]] = []

    async def told(progress: float, total: float | None, message: str | None) -> None:
        assert total == 3
        steps.append((progress, message))

    async def test() -> None:
        async with both.client(mode) as client:
            result = await client.call_tool("count", {"to": 3}, progress_callback=told)
            assert text(result) == "counted to 3"
        if not both.json:
            assert steps == [(1, "step 1"), (2, "step 2"), (3, "step 3")]

    both.runner.run(test())


def test_the_server_asks_the_user_in_the_midst_of_a_call(both: Both) -> None:
    if both.json:
        pytest.skip("a server that answers in JSON has no way to ask")
    asked: list[str] = []

    async def elicit(
        _: ClientRequestContext, params: types.ElicitRequestParams
    ) -> types.ElicitResult:
        asked.append(params.message)
        return types.ElicitResult(action="accept", content={"colour": "blue"})

    async def test() -> None:
        async with both.client("legacy", elicitation_callback=elicit) as client:
            assert text(await client.call_tool("ask_colour", {})) == "the user accepts blue"
        assert asked == ["which colour?"]

    both.runner.run(test())


@pytest.mark.parametrize("mode", MODES)
def test_a_call_that_the_client_gives_up_ends_at_the_server(both: Both, mode: str) -> None:
    if both.json:
        pytest.skip("the SDK's server does not notice it there, without the proxy neither")

    async def test() -> None:
        both.seen.hanging.clear()
        both.seen.cancelled.clear()
        async with both.client(mode) as client:
            call = asyncio.create_task(client.call_tool("hang", {}))
            await soon(both.seen.hanging.wait(), "the call at the server")
            call.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await call
            await soon(both.seen.cancelled.wait(), "its end at the server")
            # The session is good for more.
            assert text(await client.call_tool("get_user", {"id": 8})) == "user 8"

    both.runner.run(test())


def test_many_clients_at_once(both: Both) -> None:
    async def one(number: int) -> str:
        async with both.client(MODES[number % 3]) as client:
            return text(await client.call_tool("get_user", {"id": number}))

    async def test() -> None:
        results = await asyncio.gather(*map(one, range(12)))
        assert results == [f"user {number}" for number in range(12)]

    both.runner.run(test())
