"""The whole of it: an agent's call, the real proxy, its approvals, Slack's client, and a human."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.harness.hold_room import LEGACY, held, legacy, text_of
from tests.harness.mcp_server import FakeMcpServer
from tests.harness.proxy_process import config, started
from tests.harness.slack import TOKEN, FakeSlack
from tests.harness.slack.workspace import SCOPES
from tests.harness.wait import run, within

CALL = legacy("tools/call", name="delete_user", arguments={"user": "bob"})
# As the reference document prints it, but for the time.
RULES = """
governance:
  defaults: {action: forward}
  rules:
    - {match: "delete_*", action: approve}
approval:
  default: {adapter: slack, channel: "#approvals", timeout: 60s}
"""


def environment(slack: FakeSlack, token: str = TOKEN) -> Mapping[str, str]:
    """Where the proxy finds its Slack."""
    return {"THOUGHTGATE_SLACK_BOT_TOKEN": token, "THOUGHTGATE_SLACK_API_URL": slack.url}


def says(slack: FakeSlack) -> str:
    """The head of the last question."""
    (post,) = slack.workspace.asked()
    return str(post["blocks"][0]["text"]["text"])


def test_a_reaction_lets_a_held_call_through_and_the_message_says_so(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with (
            FakeSlack() as slack,
            FakeMcpServer() as server,
            started(tmp_path, config(server.url, RULES), env=environment(slack)) as proxy,
            held(proxy.port, CALL, LEGACY) as stream,
        ):
            await within(slack.workspace.asked, "the question")
            assert server.received == []
            slack.workspace.react("U0ALICE", "+1")
            assert text_of(await stream.message()) == "did delete_user"
            assert [one.body for one in server.received] == [CALL]
            await within(lambda: "the server answered" in says(slack), "the end")
            assert "<@U0ALICE>" in says(slack)
            assert TOKEN not in str(proxy.lines)

    test()


def test_the_token_of_the_mounted_secret_asks_too(tmp_path: Path) -> None:
    (tmp_path / "slack-token").write_text(TOKEN)

    @run
    async def test() -> None:
        async with FakeSlack() as slack, FakeMcpServer() as server:
            env = {**environment(slack, "xoxb-old"), "THOUGHTGATE_SECRETS_DIR": str(tmp_path)}
            async with (
                started(tmp_path, config(server.url, RULES), env=env) as proxy,
                held(proxy.port, CALL, LEGACY) as stream,
            ):
                await within(slack.workspace.asked, "the question")
                slack.workspace.react("U0ALICE", "+1")
                assert text_of(await stream.message()) == "did delete_user"

    test()


def test_a_rejection_reaches_the_agent_with_its_reason(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with (
            FakeSlack() as slack,
            FakeMcpServer() as server,
            started(tmp_path, config(server.url, RULES), env=environment(slack)) as proxy,
            held(proxy.port, CALL, LEGACY) as stream,
        ):
            await within(slack.workspace.asked, "the question")
            (post,) = slack.workspace.asked()
            slack.workspace.say("U0BOB", "bob is on leave, not gone", thread=post["ts"])
            slack.workspace.react("U0BOB", "x")
            said = await stream.message()
            assert said["result"]["isError"] is True
            assert "bob is on leave, not gone" in text_of(said)
            assert server.received == []
            await within(lambda: "*Rejected* by <@U0BOB>" in says(slack), "the end")

    test()


def test_the_proxy_killed_while_it_waits_takes_up_the_same_message(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with FakeSlack() as slack, FakeMcpServer() as server:
            options: dict[str, Any] = {"env": environment(slack)}
            async with (
                started(tmp_path, config(server.url, RULES), **options) as proxy,
                held(proxy.port, CALL, LEGACY),
            ):
                await within(slack.workspace.asked, "the question")
                proxy.process.kill()
                await proxy.process.wait()
            slack.workspace.react("U0ALICE", "white_check_mark")
            async with (
                started(tmp_path, "", **options) as proxy,
                held(proxy.port, CALL, LEGACY) as stream,
            ):
                assert text_of(await stream.message()) == "did delete_user"
            assert len(slack.workspace.asked()) == 1
            assert len(server.received) == 1

    test()


def test_a_token_without_a_scope_is_told_to_the_agent_in_one_sentence(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        slack = FakeSlack()
        slack.workspace.apps[TOKEN].scopes = SCOPES - {"users:read"}
        async with (
            slack,
            FakeMcpServer() as server,
            started(tmp_path, config(server.url, RULES), env=environment(slack)) as proxy,
            held(proxy.port, CALL, LEGACY) as stream,
        ):
            said = text_of(await stream.message())
            assert "the Slack app lacks the scope `users:read`" in said
            assert server.received == []
            metrics = await proxy.metrics()
            assert metrics['thoughtgate_errors_total{error_type="approval_slack_scope",method=""}']

    test()
