"""Reactions decide: which ones, whose, and on which message."""

import pytest

from tests.harness.slack import Fault
from tests.harness.slack_channel import approval, becomes, slack_queue, staffed, workflow
from tests.harness.wait import run, within
from thoughtgate_proxy.core.approval import State, Transition, VoteValue

YES = ["+1", "white_check_mark", "+1::skin-tone-3", "thumbsup"]
NO = ["-1", "x", "-1::skin-tone-6"]
NEITHER = ["heavy_check_mark", "eyes", "+1000", "negative_squared_cross_mark", "tada::skin-tone-2"]


@pytest.mark.parametrize("name", YES)
def test_a_listed_approvers_reaction_approves(name: str) -> None:
    @run
    async def test() -> None:
        async with staffed() as (slack, queue, _):
            asked = await queue.open(approval())
            slack.workspace.react("U0ALICE", name)
            done = await becomes(queue, asked, State.APPROVED)
            (vote,) = done.votes
            assert (vote.approver, vote.name, vote.verdict) == (
                "U0ALICE",
                "Alice",
                VoteValue.APPROVE,
            )

    test()


@pytest.mark.parametrize("name", NO)
def test_a_listed_approvers_reaction_rejects(name: str) -> None:
    @run
    async def test() -> None:
        async with staffed() as (slack, queue, _):
            asked = await queue.open(approval())
            slack.workspace.react("U0ALICE", name)
            await becomes(queue, asked, State.REJECTED)

    test()


@run
async def test_other_reactions_and_other_peoples_do_not_count() -> None:
    async with staffed() as (slack, queue, office):
        asked = await queue.open(approval())
        for name in NEITHER:
            slack.workspace.react("U0ALICE", name)
        for user in ("U0BOB", "U0BOT", "U0ROBOT", "USLACKBOT", "U0GONE", "U0NOBODY"):
            slack.workspace.react(user, "+1")
        await within(lambda: len(office.log.found("does not count")) == 6, "six ignored reactions")
        assert queue.get(asked.id).state is State.PENDING
        assert not queue.votes


@run
async def test_without_a_list_members_decide_but_no_guests_strangers_or_bots() -> None:
    async with staffed(slack_queue(default=workflow(approvers=None))) as (slack, queue, office):
        asked = await queue.open(approval())
        for user in ("U0GUEST", "U0OTHER", "U0BOT", "U0ROBOT", "USLACKBOT", "U0GONE"):
            slack.workspace.react(user, "+1")
        await within(lambda: len(office.log.found("does not count")) == 6, "six ignored reactions")
        assert queue.get(asked.id).state is State.PENDING
        slack.workspace.react("U0CAROL", "+1")
        done = await becomes(queue, asked, State.APPROVED)
        assert done.approvers == ("Carol",)


@pytest.mark.parametrize(
    ("listed", "user"),
    [
        ("U0GUEST", "U0GUEST"),
        ("otto@elsewhere.example", "U0OTHER"),
        ("Alice@Example.com", "U0ALICE"),
        ("S0ONCALL", "U0CAROL"),
    ],
)
def test_approvers_are_listed_by_id_e_mail_or_group_even_if_guests(listed: str, user: str) -> None:
    @run
    async def test() -> None:
        queue = slack_queue(default=workflow(approvers=("U0NOBODY", listed)))
        async with staffed(queue) as (slack, _, _):
            asked = await queue.open(approval())
            slack.workspace.react(user, "+1")
            done = await becomes(queue, asked, State.APPROVED)
            assert done.votes[0].approver == user

    test()


@run
async def test_a_bot_does_not_count_even_if_it_is_listed() -> None:
    queue = slack_queue(default=workflow(approvers=("U0BOT", "U0ROBOT")))
    async with staffed(queue) as (slack, _, office):
        asked = await queue.open(approval())
        slack.workspace.react("U0BOT", "+1")
        slack.workspace.react("U0ROBOT", "+1")
        await within(lambda: len(office.log.found("does not count")) == 2, "two ignored reactions")
        assert queue.get(asked.id).state is State.PENDING


@run
async def test_a_rejection_wins_over_approvals_found_in_the_same_look() -> None:
    queue = slack_queue(default=workflow(approvers=("U0ALICE", "U0BOB")))
    async with staffed(queue) as (slack, _, _):
        slack.faults["conversations.history"] = Fault("500", 1)  # until both are there
        opened = await queue.open(approval())
        slack.workspace.react("U0ALICE", "+1")
        slack.workspace.react("U0BOB", "x")
        done = await becomes(queue, opened, State.REJECTED)
        assert [vote.approver for vote in done.votes] == ["U0BOB"]


@run
async def test_two_approvers_are_two_people() -> None:
    queue = slack_queue(default=workflow(approvers=("U0ALICE", "S0ONCALL"), required=2))
    async with staffed(queue) as (slack, _, _):
        asked = await queue.open(approval(required=2))
        slack.workspace.react("U0ALICE", "+1")
        slack.workspace.react("U0ALICE", "white_check_mark")
        slack.workspace.react("U0ALICE", "+1::skin-tone-4")
        await within(lambda: queue.votes, "the first vote")
        looks = slack.count("conversations.history")
        await within(lambda: slack.count("conversations.history") > looks + 2, "two more looks")
        assert queue.get(asked.id).state is State.PENDING
        assert len(queue.votes) == 1
        slack.workspace.react("U0BOB", "+1")
        done = await becomes(queue, asked, State.APPROVED)
        assert done.approvers == ("Alice", "Bob")


@run
async def test_a_rejection_carries_the_last_reply_of_whoever_rejects() -> None:
    async with staffed() as (slack, queue, _):
        asked = await queue.open(approval())
        ts = slack.workspace.asked()[0]["ts"]
        slack.workspace.say("U0ALICE", "hm", thread=ts)
        slack.workspace.say("U0BOB", "looks fine to me", thread=ts)
        slack.workspace.say(
            "U0ALICE", "not &lt;this&gt; one,\n\x1b[31muse\u202e staging", thread=ts
        )
        slack.workspace.say("U0CAROL", "agreed", thread=ts)
        slack.workspace.react("U0ALICE", "-1")
        done = await becomes(queue, asked, State.REJECTED)
        assert done.reason == "not <this> one, [31muse staging"


@run
async def test_a_rejection_still_stops_a_call_that_was_approved_and_not_sent() -> None:
    queue = slack_queue(default=workflow(approvers=("U0ALICE", "U0BOB")))
    async with staffed(queue) as (slack, _, _):
        asked = await queue.open(approval())
        slack.workspace.react("U0ALICE", "+1")
        await becomes(queue, asked, State.APPROVED)
        await within(lambda: slack.count("chat.update"), "the update")
        slack.workspace.react("U0BOB", "x")
        await becomes(queue, asked, State.REJECTED)


@run
async def test_a_reaction_after_the_end_changes_nothing() -> None:
    async with staffed() as (slack, queue, _):
        asked, other = await queue.open(approval()), await queue.open(approval())
        await queue.step(asked.id, Transition.EXPIRE)
        slack.workspace.react("U0ALICE", "+1", slack.workspace.asked()[0]["ts"])
        slack.workspace.react("U0ALICE", "+1", slack.workspace.asked()[1]["ts"])
        await becomes(queue, other, State.APPROVED)
        assert queue.get(asked.id).state is State.EXPIRED


@run
async def test_all_who_reacted_are_seen_where_slack_cuts_the_list_short() -> None:
    async with staffed() as (slack, queue, _):
        slack.workspace.most_users = 2
        asked = await queue.open(approval())
        for number in range(5):
            slack.workspace.react(f"U0NOBODY{number}", "+1")
        slack.workspace.react("U0ALICE", "+1")
        await becomes(queue, asked, State.APPROVED)
        assert slack.count("reactions.get")


@run
async def test_somebody_taken_off_the_list_while_it_is_pending_may_not_decide() -> None:
    async with staffed() as (slack, queue, office):
        asked = await queue.open(approval())
        queue.workflows["default"] = workflow(approvers=("U0BOB",))
        slack.workspace.react("U0ALICE", "+1")
        await within(lambda: office.log.found("does not count"), "the ignored reaction")
        assert queue.get(asked.id).state is State.PENDING
