"""The fake refuses what Slack refuses, and can be run and driven as a process of its own."""

import asyncio
import json
import os
import signal
import sys
from typing import Any

import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from tests.harness.slack import CHANNEL, TOKEN, FakeSlack
from tests.harness.wait import run, soon


def client(slack: FakeSlack, token: str = TOKEN) -> AsyncWebClient:
    return AsyncWebClient(token, slack.url, retry_handlers=[])


async def error_of(slack: FakeSlack, method: str, token: str = TOKEN, **given: Any) -> Any:
    """Slack's word for what is wrong with a call."""
    with pytest.raises(SlackApiError) as caught:
        await client(slack, token).api_call(method, json=given)
    return caught.value.response["error"]


def section(length: int) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": "x" * length}}


@pytest.mark.parametrize(
    ("method", "given", "error"),
    [
        ("chat.postMessage", {"channel": "C0NONE", "text": "x"}, "channel_not_found"),
        ("chat.postMessage", {"channel": "#elsewhere", "text": "x"}, "not_in_channel"),
        ("chat.postMessage", {"channel": CHANNEL}, "no_text"),
        ("chat.postMessage", {"channel": CHANNEL, "text": "x" * 40_001}, "msg_too_long"),
        ("chat.postMessage", {"channel": CHANNEL, "blocks": [section(3_001)]}, "invalid_blocks"),
        ("chat.postMessage", {"channel": CHANNEL, "blocks": [section(1)] * 51}, "invalid_blocks"),
        (
            "chat.postMessage",
            {"channel": CHANNEL, "blocks": [section(2_900)] * 5},
            "msg_blocks_too_long",
        ),
        (
            "chat.postMessage",
            {"channel": CHANNEL, "blocks": [{"type": "rich_text", "elements": []}]},
            "invalid_blocks",
        ),
        (
            "chat.postMessage",
            {"channel": CHANNEL, "text": "x", "metadata": {"event_type": 1}},
            "invalid_metadata_format",
        ),
        ("chat.update", {"channel": CHANNEL, "ts": "1.0", "text": "x"}, "message_not_found"),
        ("conversations.history", {"channel": "#approvals"}, "channel_not_found"),
        ("conversations.history", {"channel": "C0ELSE"}, "not_in_channel"),
        ("conversations.history", {"channel": CHANNEL, "limit": 1_000}, "invalid_limit"),
        ("conversations.history", {"channel": CHANNEL, "cursor": "?"}, "invalid_cursor"),
        ("reactions.get", {"channel": CHANNEL, "timestamp": "1.0"}, "message_not_found"),
        ("users.info", {"user": "U0NOBODY"}, "user_not_found"),
        ("users.lookupByEmail", {"email": "x@example.com"}, "users_not_found"),
        ("usergroups.users.list", {"usergroup": "S0NONE"}, "no_such_subteam"),
        ("chat.explode", {}, "unknown_method"),
    ],
)
def test_it_refuses_in_slacks_words(method: str, given: dict[str, Any], error: str) -> None:
    @run
    async def test() -> None:
        async with FakeSlack() as slack:
            assert await error_of(slack, method, **given) == error
            assert await error_of(slack, method, "xoxb-x", **given) == "invalid_auth"

    test()


@run
async def test_a_scope_that_is_missing_is_named_and_the_others_stand_in_a_header() -> None:
    async with FakeSlack() as slack:
        slack.workspace.apps[TOKEN].scopes = frozenset({"users:read"})
        with pytest.raises(SlackApiError) as caught:
            await client(slack).chat_postMessage(channel=CHANNEL, text="x")
        answer = caught.value.response
        assert (answer["error"], answer["needed"]) == ("missing_scope", "chat:write")
        assert answer["provided"] == "users:read"
        assert (await client(slack).auth_test()).headers["X-OAuth-Scopes"] == "users:read"


@run
async def test_history_has_pages_metadata_on_demand_and_lists_of_users_cut_short() -> None:
    async with FakeSlack() as slack:
        slack.workspace.most_users = 2
        metadata = {"event_type": "e", "event_payload": {"id": "1"}}
        posted = await client(slack).chat_postMessage(channel=CHANNEL, text="x", metadata=metadata)
        for user in ("U0ALICE", "U0BOB", "U0CAROL"):
            slack.workspace.react(user, "+1", posted["ts"])
        for number in range(5):
            slack.workspace.say("U0BOB", f"{number}")
        found = await client(slack).conversations_history(channel=CHANNEL, limit=2)
        seen = [message async for page in found for message in page["messages"]]
        assert [message["text"] for message in seen] == ["4", "3", "2", "1", "0", "x"]
        (reaction,) = seen[-1]["reactions"]
        assert (len(reaction["users"]), reaction["count"]) == (2, 3)
        assert "metadata" not in seen[-1]
        one = await client(slack).conversations_history(
            channel=CHANNEL, latest=posted["ts"], inclusive=True, limit=1, include_all_metadata=True
        )
        assert one["messages"][0]["metadata"] == metadata
        full = await client(slack).reactions_get(channel=CHANNEL, timestamp=posted["ts"], full=True)
        assert len(full["message"]["reactions"][0]["users"]) == 3


@run
async def test_only_what_an_app_posted_can_it_change_and_a_new_text_is_marked() -> None:
    async with FakeSlack() as slack:
        mine = await client(slack).chat_postMessage(channel=CHANNEL, text="x", blocks=[section(1)])
        theirs = slack.workspace.say("U0BOB", "x")
        given = {"channel": CHANNEL, "ts": theirs["ts"], "text": "y"}
        assert await error_of(slack, "chat.update", **given) == "cant_update_message"
        blocks = await client(slack).chat_update(
            channel=CHANNEL, ts=mine["ts"], text="y", blocks=[section(2)]
        )
        assert "edited" not in blocks["message"]
        text = await client(slack).chat_update(channel=CHANNEL, ts=mine["ts"], text="y")
        assert text["message"]["edited"]["user"] == "U0BOT"


@run
async def test_a_file_takes_three_steps_of_which_none_can_be_left_out() -> None:
    async with FakeSlack() as slack:
        await client(slack).files_upload_v2(filename="a.txt", content="abc", channel=CHANNEL)
        (post,) = slack.workspace.channel(CHANNEL).posts
        assert slack.workspace.files[post["files"][0]["id"]]["content"] == b"abc"
        url = await client(slack).files_getUploadURLExternal(filename="b", length=1)
        files = [{"id": url["file_id"]}]
        error = await error_of(slack, "files.completeUploadExternal", files=files)
        assert error == "file_not_found"


@run
async def test_a_method_called_too_often_is_limited_with_the_seconds_to_wait() -> None:
    async with FakeSlack(limits={"auth.test": (2, 30.0)}) as slack:
        await client(slack).auth_test()
        await client(slack).auth_test()
        with pytest.raises(SlackApiError) as caught:
            await client(slack).auth_test()
        assert caught.value.response.status_code == 429
        assert 28 <= int(caught.value.response.headers["Retry-After"]) <= 30


@run
async def test_as_a_process_it_serves_and_is_driven_from_the_shell() -> None:
    command = (sys.executable, "-m", "tests.harness.slack", "--port")
    environ = {**os.environ, "PYTHONUNBUFFERED": "1"}
    process = await asyncio.create_subprocess_exec(
        *command, "0", stdout=asyncio.subprocess.PIPE, env=environ
    )
    try:
        assert process.stdout is not None
        line = await soon(process.stdout.readline(), "its address")
        url = line.decode().split()[1]
        port = url.rpartition(":")[2].partition("/")[0]
        posted = await AsyncWebClient(TOKEN, url).chat_postMessage(
            channel="#approvals", text="x", metadata={"event_type": "e", "event_payload": {}}
        )

        async def control(*words: str) -> Any:
            driven = await asyncio.create_subprocess_exec(
                *command, port, "control", *words, stdout=asyncio.subprocess.PIPE
            )
            said, _ = await soon(driven.communicate(), "the shell")
            assert driven.returncode == 0
            return json.loads(said)

        await control("react", '{"user": "U0ALICE", "name": "+1"}')
        (post,) = await control("messages")
        assert post["ts"] == posted["ts"]
        assert post["reactions"] == [{"name": "+1", "users": ["U0ALICE"]}]
        await control("fault", '{"how": "500", "method": "auth.test"}')
        with pytest.raises(SlackApiError):
            await AsyncWebClient(TOKEN, url).auth_test()
        process.send_signal(signal.SIGTERM)
        assert await soon(process.wait(), "its end") == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
