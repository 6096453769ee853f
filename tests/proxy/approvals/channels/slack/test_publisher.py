"""Asking in Slack: once, visibly, or refused in words."""

import asyncio
from typing import Any

import pytest

from tests.harness.fake_queue import FakeQueue
from tests.harness.slack import CHANNEL, FakeSlack, Fault
from tests.harness.slack.workspace import SCOPES, App
from tests.harness.slack_channel import (
    Office,
    approval,
    becomes,
    running,
    slack_queue,
    staffed,
    workflow,
)
from tests.harness.wait import run, within
from thoughtgate_proxy.approvals.channels.channel import AskFailed
from thoughtgate_proxy.core.approval import State


def asked_by(slack: FakeSlack) -> list[str]:
    """The ids of the requests that the channel's messages ask for."""
    posts = slack.workspace.asked()
    return [post["metadata"]["event_payload"]["id"] for post in posts]


@run
async def test_a_question_is_posted_once_in_the_channel_of_that_name() -> None:
    async with staffed() as (slack, queue, _):
        asked = await queue.open(approval({"user": "bob"}))
        assert asked_by(slack) == [asked.id]
        assert asked.message_ref is not None
        assert asked.message_ref.startswith(f"{CHANNEL}/{slack.workspace.asked()[0]['ts']}/")


@run
async def test_a_channel_may_be_given_by_its_id_or_be_private() -> None:
    flows = {"default": workflow(channel="C0PRIVATE"), "b": workflow(channel="#secret")}
    async with staffed(slack_queue(**flows)) as (slack, queue, _):
        await queue.open(approval())
        await queue.open(approval(asked={"workflow": "b"}))
        assert len(slack.workspace.asked("C0PRIVATE")) == 2


@run
async def test_long_arguments_are_in_the_channel_as_a_file_before_the_question() -> None:
    async with staffed() as (slack, queue, _):
        await queue.open(approval({"text": "é" * 20_000}))
        with_file, question = slack.workspace.channel(CHANNEL).posts
        (file,) = with_file["files"]
        assert "é" * 20_000 in slack.workspace.files[file["id"]]["content"].decode()
        assert slack.workspace.files[file["id"]]["name"] in str(question["blocks"])


async def refused(queue: FakeQueue) -> AskFailed:
    with pytest.raises(AskFailed) as caught:
        await queue.open(approval({"text": "x"}))
    assert "\n" not in caught.value.reason
    assert not queue.pending()
    return caught.value


@pytest.mark.parametrize(
    ("token", "words"),
    [
        ("", "there is no Slack token: set the key `slack-token` of the Secret"),
        ("xoxb-wrong", "refuses the bot's token: Slack does not know it"),
        ("xoxb\u00e9", "has characters that no token has"),
        ("xoxp-user", "it is not a bot's token (`xoxb-...`)"),
    ],
)  # fmt: skip
def test_a_token_that_is_none_is_said_so(token: str, words: str) -> None:
    @run
    async def test() -> None:
        slack = FakeSlack()
        slack.workspace.apps["xoxp-user"] = App(bot="")
        async with staffed(slack=slack, token=token) as (_, queue, office):
            error = await refused(queue)
            assert words in error.reason
            assert error.kind == "slack_auth"
            assert office.counted("slack_auth")
            assert token not in str(office.log.lines) or not token
            # Told when the adapter starts, before a request meets it.
            assert [x["doing"] for x in office.log.found("slack trouble")] == [
                "connecting",
                "asking",
            ]

    test()


@pytest.mark.parametrize(
    ("lost", "flow", "named"),
    [
        ("chat:write", {}, "chat:write"),
        ("reactions:read", {}, "reactions:read"),
        ("users:read", {}, "users:read"),
        ("users:read.email", {"approvers": ("a@example.com",)}, "users:read.email"),
        ("usergroups:read", {"approvers": ("S0ONCALL",)}, "usergroups:read"),
        ("channels:read groups:read", {}, "channels:read"),
    ],
)
def test_a_scope_that_is_missing_is_named_and_used_when_it_was_added(
    lost: str, flow: dict[str, Any], named: str
) -> None:
    @run
    async def test() -> None:
        slack = FakeSlack()
        app = slack.workspace.apps["xoxb-your-token"]
        app.scopes = SCOPES - set(lost.split())
        async with staffed(slack_queue(default=workflow(**flow)), slack=slack) as (_, queue, _):
            error = await refused(queue)
            assert f"the Slack app lacks the scope `{named}`" in error.reason
            assert error.kind == "slack_scope"
            assert not slack.workspace.asked()
            app.scopes = SCOPES
            if named != "channels:read":
                await queue.open(approval())

    test()


@run
async def test_a_file_needs_its_scope_and_without_it_nothing_is_asked() -> None:
    async with staffed() as (slack, queue, _):
        slack.workspace.apps["xoxb-your-token"].scopes = SCOPES - {"files:write"}
        with pytest.raises(AskFailed, match="lacks the scope `files:write`"):
            await queue.open(approval({"text": "x" * 20_000}))
        assert not slack.workspace.channel(CHANNEL).posts
        await queue.open(approval({"text": "x"}))


@pytest.mark.parametrize(
    ("channel", "words"),
    [
        ("#elsewhere", "Slack channel `#elsewhere`: the app is not in it: invite the app there"),
        ("#nowhere", "Slack channel `#nowhere`: the app is not in it"),
        ("C0ELSE", "Slack channel `C0ELSE`: the app is not in it"),
        ("C0NOWHERE", "Slack channel `C0NOWHERE`: Slack knows no such channel"),
    ],
)
def test_a_channel_without_the_app_is_said_so(channel: str, words: str) -> None:
    @run
    async def test() -> None:
        queue = slack_queue(default=workflow(channel=channel))
        async with staffed(queue) as (_, _, office):
            error = await refused(queue)
            assert words in error.reason
            assert error.kind == "slack_channel"
            assert office.counted("slack_channel")

    test()


@run
async def test_an_archived_channel_is_said_so() -> None:
    async with staffed(slack_queue(default=workflow(channel=CHANNEL))) as (slack, queue, _):
        slack.workspace.channel(CHANNEL).archived = True
        assert "it is archived" in (await refused(queue)).reason


@pytest.mark.parametrize("how", ["drop", "500", "html", "internal_error"])
def test_slack_that_is_down_is_said_so_and_nothing_is_left_to_see(how: str) -> None:
    @run
    async def test() -> None:
        async with staffed(ask_seconds=1.0) as (slack, queue, office):
            slack.faults["*"] = Fault(how, 1_000)
            error = await refused(queue)
            assert error.kind == "slack_down"
            assert office.counted("slack_down")
            slack.faults.clear()
            assert not slack.workspace.channel(CHANNEL).posts
            await queue.open(approval())

    test()


@run
async def test_slack_that_cannot_be_reached_is_said_so() -> None:
    async with FakeSlack() as slack:
        pass
    queue = slack_queue()
    office = Office(slack, queue, ask_seconds=0.7)
    async with running(office):
        error = await refused(queue)
        assert error.reason.startswith("Slack cannot be reached: ")
        assert error.kind == "slack_down"


@run
async def test_a_short_outage_delays_a_question_and_doubles_none() -> None:
    async with staffed() as (slack, queue, _):
        slack.faults["chat.postMessage"] = Fault("500")
        asked = await queue.open(approval())
        assert asked_by(slack) == [asked.id]


@pytest.mark.parametrize("how", ["act", "late"])
def test_a_post_that_was_not_answered_but_done_is_found_and_not_repeated(how: str) -> None:
    @run
    async def test() -> None:
        async with staffed() as (slack, queue, _):
            slack.faults["chat.postMessage"] = Fault(how)
            asked = await queue.open(approval())
            assert asked_by(slack) == [asked.id]
            assert slack.count("chat.postMessage") == 1
            slack.workspace.react("U0ALICE", "+1")
            await becomes(queue, asked, State.APPROVED)

    test()


@run
async def test_a_post_in_doubt_that_cannot_be_looked_for_is_refused() -> None:
    async with staffed() as (slack, queue, _):
        slack.workspace.apps["xoxb-your-token"].scopes = SCOPES - {"channels:history"}
        slack.faults["chat.postMessage"] = Fault("act")
        error = await refused(queue)
        assert "lacks the scope `channels:history` (for `conversations.history`)" in error.reason
        assert error.reason.endswith("; a message may stand there, and counts for nothing")
        assert len(asked_by(slack)) == 1


@run
async def test_after_a_kill_between_post_and_note_the_same_message_is_taken_up() -> None:
    queue = slack_queue()
    async with FakeSlack() as slack:
        killed = Office(slack, queue)
        slack.workspace.say("U0BOB", "small talk")
        async with running(killed):
            asked = await queue.open(approval())
            other = await queue.open(approval())
        for number in range(150):
            slack.workspace.say("U0BOB", f"small talk {number}")
        next_life = Office(slack, queue)
        async with running(next_life):
            # The note was never written.
            await queue.ask_again(asked.id)
            assert sorted(asked_by(slack)) == sorted([asked.id, other.id])
            slack.workspace.react("U0ALICE", "+1", slack.workspace.asked()[0]["ts"])
            await becomes(queue, asked, State.APPROVED)


@run
async def test_a_message_in_doubt_is_told_its_end_once_slack_answers_again() -> None:
    async with staffed(ask_seconds=0.5) as (slack, queue, _):
        slack.faults["chat.postMessage"] = Fault("act")
        slack.faults["conversations.history"] = Fault("500", 3)
        await refused(queue)
        (post,) = slack.workspace.asked()
        await within(lambda: "taken as never posted" in str(post["blocks"]), "its end")


@run
async def test_ten_at_once_are_ten_messages_and_none_twice() -> None:
    async with staffed() as (slack, queue, _):
        await asyncio.gather(*(queue.open(approval({"n": n})) for n in range(5)))
        assert len(set(asked_by(slack))) == len(asked_by(slack)) == 5
