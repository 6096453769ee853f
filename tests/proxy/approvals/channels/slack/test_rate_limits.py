"""Slack's limits: one look for all, pauses obeyed by all, and what is lacking done without."""

import asyncio
import itertools

import pytest

from tests.harness.slack import FakeSlack, Fault
from tests.harness.slack.workspace import SCOPES
from tests.harness.slack_channel import approval, becomes, slack_queue, staffed, workflow
from tests.harness.wait import LIMIT, run, within
from thoughtgate_proxy.approvals.channels.slack.errors import RateLimited, SlackError
from thoughtgate_proxy.approvals.channels.slack.poller import Pace
from thoughtgate_proxy.approvals.channels.slack.rate_limits import SPACING, RateLimits
from thoughtgate_proxy.core.approval import State


@pytest.fixture
def no_spacing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Post as fast as can be: the second between two posts has a test of its own."""
    monkeypatch.delitem(SPACING, "chat.postMessage")


async def _looked(slack: FakeSlack, method: str = "conversations.history", times: int = 2) -> None:
    """Wait for some more calls of a method."""
    so_far = slack.count(method)
    await within(lambda: slack.count(method) >= so_far + times, f"{times} more of {method}")


@pytest.mark.usefixtures("no_spacing")
@run
async def test_one_call_covers_all_pending_of_a_channel() -> None:
    async with staffed() as (slack, queue, _):
        asked = [await queue.open(approval({"n": n})) for n in range(40)]
        slack.calls.clear()
        await _looked(slack)
        assert {call.method for call in slack.calls} == {"conversations.history"}
        posts = slack.workspace.asked()
        for number in (3, 17, 39):
            slack.workspace.react("U0ALICE", "+1", posts[number]["ts"])
            await becomes(queue, asked[number], State.APPROVED)
        assert len(queue.votes) == 3
        assert slack.count("reactions.get") == 0


@pytest.mark.usefixtures("no_spacing")
@run
async def test_each_channel_has_one_call_of_its_own() -> None:
    flows = {"default": workflow(), "b": workflow(channel="#secret")}
    async with staffed(slack_queue(**flows)) as (slack, queue, _):
        await queue.open(approval())
        asked = await queue.open(approval(asked={"workflow": "b"}))
        slack.workspace.react("U0ALICE", "+1", channel="C0PRIVATE")
        await becomes(queue, asked, State.APPROVED)


@pytest.mark.usefixtures("no_spacing")
@run
async def test_a_channel_full_of_talk_is_read_in_pages_and_then_one_by_one() -> None:
    async with staffed() as (slack, queue, _):
        first = await queue.open(approval())
        for number in range(450):
            slack.workspace.say("U0BOB", f"talk {number}")
        second = await queue.open(approval())
        await _looked(slack)
        slack.calls.clear()
        slack.workspace.react("U0ALICE", "+1", slack.workspace.asked()[0]["ts"])
        slack.workspace.react("U0ALICE", "+1", slack.workspace.asked()[1]["ts"])
        await becomes(queue, first, State.APPROVED)
        await becomes(queue, second, State.APPROVED)
        # Two pending: at most two pages, and a call for the one that they did not reach.
        looks = slack.count("conversations.history") / 2
        assert slack.count("reactions.get") <= looks + 1


@run
async def test_without_the_scope_for_history_each_message_is_asked_for() -> None:
    slack = FakeSlack()
    slack.workspace.apps["xoxb-your-token"].scopes = SCOPES - {"channels:history"}
    async with staffed(slack=slack) as (_, queue, office):
        asked = await queue.open(approval())
        slack.workspace.say("U0ALICE", "why not", thread=slack.workspace.asked()[0]["ts"])
        slack.workspace.react("U0ALICE", "-1")
        done = await becomes(queue, asked, State.REJECTED)
        assert done.reason == ""  # it stands in a thread that may not be read
        assert slack.count("conversations.history") == 1
        assert not office.log.found("slack trouble")


@run
async def test_a_pause_that_slack_asks_for_is_made_and_the_decision_still_found() -> None:
    slack = FakeSlack(limits={"conversations.history": (3, 1.5)})
    async with staffed(slack=slack) as (_, queue, office):
        asked = await queue.open(approval())
        await within(lambda: office.counted("slack_rate_limited"), "a limit that is met")
        so_far = slack.count("conversations.history")
        slack.workspace.react("U0ALICE", "+1")
        await becomes(queue, asked, State.APPROVED)
        assert slack.count("conversations.history") == so_far + 1
        at = [c.at for c in slack.calls if c.method == "conversations.history"]
        assert at[-1] - at[-2] >= 1.0


@pytest.mark.usefixtures("no_spacing")
@run
async def test_posts_that_are_limited_wait_and_are_none_twice() -> None:
    slack = FakeSlack(limits={"chat.postMessage": (2, 1.0)})
    async with staffed(slack=slack) as (_, queue, _):
        await asyncio.gather(*(queue.open(approval()) for _ in range(4)))
        assert len(slack.workspace.asked()) == 4


@run
async def test_a_question_that_must_wait_too_long_is_refused() -> None:
    slack = FakeSlack(limits={"chat.postMessage": (1, 60.0)})
    async with staffed(slack=slack, ask_seconds=2.0) as (_, queue, _):
        await queue.open(approval())
        with pytest.raises(
            Exception, match=r"rate limit of `chat.postMessage` is used up"
        ) as caught:
            await queue.open(approval())
        assert caught.value.kind == "slack_rate_limited"  # type: ignore[attr-defined]  # CannotAsk
        assert len(queue.pending()) == 1


@run
async def test_a_gate_lets_nobody_through_while_slack_wants_a_pause() -> None:
    loop = asyncio.get_running_loop()
    told: list[SlackError] = []
    gates = RateLimits(lambda: 1.0, told.append)
    passed: list[tuple[str, float]] = []
    begun = loop.time()

    async def once(name: str, limits: list[float]) -> str:
        passed.append((name, loop.time() - begun))
        if limits:
            raise RateLimited("a", limits.pop())
        return name

    slow, quick = [0.2], list[float]()
    await asyncio.gather(
        gates.through("a", lambda: once("first", slow)),
        gates.through("b", lambda: once("other", quick)),
    )
    assert [name for name, _ in passed] == ["first", "other", "first"]
    assert passed[-1][1] >= 0.2 * 1.2
    assert gates.pauses == len(told) == 1
    with pytest.raises(RateLimited):
        await gates.through("a", lambda: once("late", [30.0, 30.0]), loop.time() + 1)
    with pytest.raises(RateLimited):
        await gates.through("a", lambda: once("later", quick), loop.time() + 1)
    assert passed[-1][0] == "late"


@run
async def test_posts_are_a_second_apart() -> None:
    loop = asyncio.get_running_loop()
    gates = RateLimits(lambda: 0.0, lambda _: None)
    at: list[float] = []

    async def post() -> None:
        at.append(loop.time())

    await asyncio.gather(*(gates.through("chat.postMessage", post) for _ in range(3)))
    assert all(later - earlier > 0.99 for earlier, later in itertools.pairwise(at))


@run
async def test_while_slack_is_down_the_request_waits_and_is_decided_afterwards() -> None:
    async with staffed() as (slack, queue, office):
        asked = await queue.open(approval())
        slack.faults["*"] = Fault("500", 1_000)
        slack.workspace.react("U0ALICE", "+1")
        await _looked(slack, times=5)
        assert queue.get(asked.id).state is State.PENDING
        # Each failure counts, and the first of a row is told.
        assert office.counted("slack_down") >= 4
        assert len(office.log.found("slack trouble")) == 1
        slack.faults.clear()
        await becomes(queue, asked, State.APPROVED)
        assert office.log.found("slack works again")


def test_the_pace_slows_with_age_and_pressure_and_looks_once_before_the_end() -> None:
    pace, old = Pace(), approval(opened=0.0, timeout=600.0)
    assert pace.pause([old], 1.0, 1.0) == 3.0
    assert pace.pause([old], 100.0, 1.0) == 10.0
    assert pace.pause([old], 500.0, 1.0) == 30.0
    assert pace.pause([old], 1.0, 4.0) == 12.0
    assert pace.pause([old], 100.0, 10.0) == 30.0
    assert pace.pause([old, approval(opened=99.0)], 100.0, 1.0) == 3.0
    assert pace.last_chance([old], 590.0) == 8.0
    assert pace.last_chance([old], 599.0) == float("inf")


@run
async def test_a_reaction_just_before_the_end_is_seen_though_looks_are_rare() -> None:
    pace = Pace(least=30.0, most=30.0, last_look=3.0)
    async with staffed(pace=pace) as (slack, queue, _):
        asked = await queue.open(approval(timeout=5.0))
        slack.workspace.react("U0ALICE", "+1")
        done = await becomes(queue, asked, State.APPROVED)
        assert done.decided is not None
        assert done.expires - 3.1 < done.decided < done.expires


@run
async def test_new_questions_do_not_put_off_the_look_at_older_ones() -> None:
    async with staffed(pace=Pace(least=0.5, most=0.5)) as (slack, queue, office):
        asked = await queue.open(approval())
        slack.workspace.react("U0ALICE", "+1")
        async with asyncio.timeout(LIMIT):
            while not queue.votes:
                office.adapter._poller.wake()
                await asyncio.sleep(0.05)
        await becomes(queue, asked, State.APPROVED)
