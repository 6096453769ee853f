"""Messages after the question: what became of it, and what somebody else made of it."""

from dataclasses import replace

import pytest

from tests.harness.slack import FakeSlack, Fault
from tests.harness.slack.workspace import ApiError, Post
from tests.harness.slack_channel import Office, approval, becomes, running, slack_queue, staffed
from tests.harness.wait import run, within
from thoughtgate_proxy.core.approval import State, Transition


def says(post: Post) -> str:
    """The first block's text."""
    return str(post["blocks"][0]["text"]["text"])


@run
async def test_the_message_says_in_the_end_who_when_and_what_became_of_it() -> None:
    async with staffed() as (slack, queue, _):
        asked = await queue.open(approval({"user": "bob"}))
        (post,) = slack.workspace.asked()
        slack.workspace.react("U0ALICE", "+1")
        await within(lambda: "*Approved* by <@U0ALICE>" in says(post), "the approval")
        assert "Not used yet" in says(post)
        await queue.step(asked.id, Transition.SEND)
        await queue.step(asked.id, Transition.FINISH)
        await within(lambda: "the server answered" in says(post), "the end")
        assert post["text"] == "Done: tool delete_user"
        assert "bob" in str(post["blocks"])


@run
async def test_of_several_changes_in_a_row_only_the_last_is_told() -> None:
    async with staffed(settle_seconds=1.0) as (slack, queue, _):
        asked = await queue.open(approval())
        await queue.step(asked.id, Transition.APPROVE, decided=asked.opened)
        await queue.step(asked.id, Transition.SEND)
        await queue.step(asked.id, Transition.FINISH)
        (post,) = slack.workspace.asked()
        await within(lambda: "the server answered" in says(post), "the end")
        assert slack.count("chat.update") == 1


@run
async def test_a_rejections_reason_stands_in_a_box() -> None:
    async with staffed() as (slack, queue, _):
        await queue.open(approval())
        (post,) = slack.workspace.asked()
        slack.workspace.say("U0ALICE", "use <https://staging|staging>", thread=post["ts"])
        slack.workspace.react("U0ALICE", "x")
        await within(lambda: "*Rejected* by <@U0ALICE>" in says(post), "the rejection")
        assert '"use <https://staging|staging>"' in str(post["blocks"][1])


@run
async def test_an_end_that_could_not_be_told_is_told_when_slack_is_back() -> None:
    async with staffed() as (slack, queue, _):
        asked = await queue.open(approval())
        (post,) = slack.workspace.asked()
        slack.faults["chat.update"] = Fault("500", 2)
        await queue.step(asked.id, Transition.EXPIRE)
        await within(lambda: "*Timed out*" in says(post), "the end")
        assert slack.count("chat.update") == 3


@run
async def test_after_a_restart_pending_ones_go_on_and_ended_ones_are_told() -> None:
    queue = slack_queue()
    async with FakeSlack() as slack:
        first = Office(slack, queue)
        async with running(first):
            asked, ended = await queue.open(approval()), await queue.open(approval())
        await queue.step(ended.id, Transition.CANCEL)
        one, two = slack.workspace.asked()
        slack.workspace.react("U0ALICE", "+1", one["ts"])
        second = Office(slack, queue)
        async with running(second):
            await becomes(queue, asked, State.APPROVED)
            await within(lambda: "*Cancelled*" in says(two), "the end")
            await within(lambda: "*Approved*" in says(one), "the approval")
        updates, third = slack.count("chat.update"), Office(slack, queue)
        async with running(third):
            await queue.open(approval())
        assert slack.count("chat.update") == updates
        assert len(slack.workspace.asked()) == 3


@run
async def test_where_messages_may_not_be_changed_any_more_the_thread_says_it() -> None:
    async with staffed() as (slack, queue, _):
        asked = await queue.open(approval())
        (post,) = slack.workspace.asked()
        post["bot_id"], post["user"] = "B0ELSE", "U0ELSE"  # so that an update is refused
        await queue.step(asked.id, Transition.EXPIRE)
        await within(lambda: post.get("reply_count"), "a reply")
        reply = slack.workspace.channel("C0APPROVALS").posts[-1]
        assert "*Timed out*" in says(reply)
        assert reply["thread_ts"] == post["ts"]


@run
async def test_an_end_without_arguments_left_keeps_those_that_the_message_shows() -> None:
    async with staffed() as (slack, queue, _):
        asked = await queue.open(approval({"user": "bob"}))
        (post,) = slack.workspace.asked()
        call = replace(queue.get(asked.id).call, body=b"")
        await queue.step(asked.id, Transition.EXPIRE, call=call)
        await within(lambda: "*Timed out*" in says(post), "the end")
        assert "bob" in str(post["blocks"])


def _tampered(post: Post, how: str, slack: FakeSlack) -> None:
    match how:
        case "edited":
            post["edited"] = {"user": "U0BOT", "ts": "1.0"}
        case "blocks":
            post["blocks"][1]["elements"][1]["elements"][0]["text"] = '"list_users"'
        case "posted by another":
            post["bot_id"], post["user"] = "B0ELSE", "U0ELSE"
        case "attached":
            post["attachments"] = [{"text": "Approve this, it is only a test"}]
        case "deleted":
            slack.workspace.delete(post["ts"])


@pytest.mark.parametrize("how", ["edited", "blocks", "attached", "posted by another", "deleted"])
def test_a_message_that_is_not_ours_any_more_does_not_count_and_is_replaced(how: str) -> None:
    @run
    async def test() -> None:
        async with staffed() as (slack, queue, office):
            asked = await queue.open(approval())
            (old,) = slack.workspace.asked()
            slack.faults["conversations.history"] = Fault("500", 1)
            slack.workspace.react("U0ALICE", "+1")
            _tampered(old, how, slack)
            await within(lambda: office.log.found("by somebody else"), "a warning")
            await within(lambda: slack.workspace.asked()[-1:] not in ([], [old]), "a new message")
            new = slack.workspace.asked()[-1]
            word = "deleted" if how == "deleted" else "changed"
            assert f"An earlier message of this request was {word}" in says(new)
            assert queue.get(asked.id).state is State.PENDING
            await within(
                lambda: new["ts"] in (queue.get(asked.id).message_ref or ""), "the new note"
            )
            slack.workspace.react("U0ALICE", "+1", new["ts"])
            await becomes(queue, asked, State.APPROVED)

    test()


@run
async def test_a_message_changed_again_and_again_is_replaced_three_times() -> None:
    async with staffed() as (slack, queue, office):
        await queue.open(approval())
        for number in range(3):
            _tampered(slack.workspace.asked()[-1], "blocks", slack)
            await within(
                lambda n=number: len(slack.workspace.asked()) == n + 2,  # type: ignore[misc]  # bound now
                "a new message",
            )
        _tampered(slack.workspace.asked()[-1], "blocks", slack)
        looks = slack.count("conversations.history")
        await within(lambda: slack.count("conversations.history") > looks + 3, "more looks")
        assert len(slack.workspace.asked()) == 4
        assert len(office.log.found("by somebody else")) == 3


@run
async def test_a_message_of_somebody_elses_app_with_the_same_id_is_not_taken_for_ours() -> None:
    queue = slack_queue()
    async with FakeSlack() as slack:
        asked = approval(opened=0.0)  # from a former life, so it is looked for first
        slack.workspace.put(
            slack.workspace.channel("C0APPROVALS"),
            {
                "type": "message", "user": "U0ROBOT", "bot_id": "B0ROBOT", "text": "",
                "metadata": {
                    "event_type": "thoughtgate_approval", "event_payload": {"id": asked.id},
                },
            },
        )  # fmt: skip
        office = Office(slack, queue)
        async with running(office):
            await queue.open(asked)
        assert [post["user"] for post in slack.workspace.asked()] == ["U0ROBOT", "U0BOT"]


@run
async def test_a_message_that_was_changed_while_we_were_down_is_not_taken_up() -> None:
    queue = slack_queue()
    async with FakeSlack() as slack:
        first = Office(slack, queue)
        async with running(first):
            asked = await queue.open(approval({"user": "bob"}))
        (old,) = slack.workspace.asked()
        _tampered(old, "blocks", slack)
        second = Office(slack, queue)
        async with running(second):
            # Without a note of it, as after a kill between the post and the note.
            again = await queue.ask_again(asked.id)
        assert len(slack.workspace.asked()) == 2
        assert old["ts"] not in (again.message_ref or "")


def test_the_fake_refuses_to_change_what_is_not_there() -> None:
    with pytest.raises(ApiError, match="message_not_found"):
        FakeSlack().workspace.delete("1.0")
