"""The token changes while the channel is at work."""

from pathlib import Path

from tests.harness.log import Lines
from tests.harness.slack import TOKEN, FakeSlack
from tests.harness.slack.workspace import App
from tests.harness.slack_channel import approval, becomes, staffed
from tests.harness.wait import run, within
from thoughtgate_proxy.approvals.channels.channel import ChannelSettings
from thoughtgate_proxy.approvals.channels.slack.account import TOKEN_FILE, URL_VARIABLE, Account
from thoughtgate_proxy.approvals.channels.slack.client import Client
from thoughtgate_proxy.core.approval import State

NEW = "xoxb-the-next-token"


@run
async def test_a_new_token_is_used_from_the_next_call_on_and_is_asked_who_it_is(
    tmp_path: Path,
) -> None:
    async with FakeSlack() as slack:
        file = tmp_path / TOKEN_FILE
        file.write_text(TOKEN)
        settings = ChannelSettings(tmp_path, {URL_VARIABLE: slack.url})
        client = Client(Account(settings), lambda: 0.0, lambda _: None)
        assert (await client.connect()).user == "U0BOT"
        assert (await client.connect()).user == "U0BOT"
        assert slack.count("auth.test") == 1
        slack.workspace.apps = {NEW: App(user="U0NEXT", bot="B0NEXT")}
        file.write_text(NEW)
        await client.read("users.info", user="U0ALICE")
        assert client.me.user == "U0BOT", "nobody has asked yet whose it is"
        assert (await client.connect()).user == client.me.user == "U0NEXT"
        # Connections of a token that was replaced twice are closed.
        replaced = client._replaced
        assert replaced is not None
        file.write_text(TOKEN)
        slack.workspace.apps[TOKEN] = App()
        assert (await client.connect()).user == "U0BOT"
        assert replaced._session.closed
        await client.close()


@run
async def test_a_token_that_was_replaced_goes_on_with_what_is_pending(tmp_path: Path) -> None:
    file = tmp_path / TOKEN_FILE
    file.write_text(TOKEN)
    async with staffed(token="", secrets=tmp_path) as (slack, queue, office):
        asked = await queue.open(approval())
        # The same app, whose token was rotated: what it posted is its own still.
        slack.workspace.apps = {NEW: slack.workspace.apps[TOKEN]}
        await within(lambda: office.log.found("slack trouble"), "the old token to be refused")
        file.write_text(NEW)
        slack.workspace.react("U0ALICE", "+1")
        await becomes(queue, asked, State.APPROVED)
        assert isinstance(office.log, Lines)
        assert TOKEN not in str(office.log.lines)
        assert NEW not in str(office.log.lines)
