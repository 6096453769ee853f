"""What a channel sees and may do: the tests' queue must not differ from the service's own."""

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness.approval_queues import APPROVE, FLOWS, REJECT, SIDES, Side, on_both
from tests.harness.wait import run, within
from thoughtgate_proxy.approvals.channels.channel import AskFailed
from thoughtgate_proxy.approvals.store.errors import StoreUnavailable
from thoughtgate_proxy.core.approval import (
    Approval,
    Ending,
    NoSuchTransition,
    State,
    Transition,
    Vote,
    VoteValue,
)


def says(who: str, verdict: VoteValue = APPROVE, at: float = 1.0, reason: str = "") -> Vote:
    return Vote(f"id-{who}", who, verdict, at, reason)


@on_both
async def test_a_second_approver_is_counted_after_the_first_was_enough(side: Side) -> None:
    queue, opened = side.humans.queue, await side.open(1)
    first = await queue.vote(opened.id, says("ada"))
    assert (first.state, first.decided, first.valid_until) == (
        State.APPROVED, side.clock.now(), side.clock.now() + 30,
    )  # fmt: skip
    side.clock.move(1)
    second = await queue.vote(opened.id, says("bob"))
    assert (second.state, second.approvers) == (State.APPROVED, ("ada", "bob"))
    assert second.valid_until == first.valid_until, "it is valid no longer for that"


@on_both
async def test_the_same_word_of_the_same_approver_counts_once(side: Side) -> None:
    queue, opened = side.humans.queue, await side.open(1, "two")
    first = await queue.vote(opened.id, says("ada", at=1.0))
    again = await queue.vote(opened.id, says("ada", at=2.0))
    assert first == again
    assert (again.state, [vote.at for vote in again.votes]) == (State.PENDING, [1.0])


@on_both
async def test_two_required_are_two_people(side: Side) -> None:
    queue, opened = side.humans.queue, await side.open(1, "two")
    assert opened.required == 2
    assert (await queue.vote(opened.id, says("ada"))).state is State.PENDING
    assert (await queue.vote(opened.id, says("bob"))).state is State.APPROVED


@on_both
async def test_a_workflow_that_requires_more_by_now_is_obeyed_and_less_is_not(side: Side) -> None:
    queue = side.humans.queue
    one, two = await side.open(1, "one"), await side.open(2, "two")
    assert (await queue.vote(one.id, says("ada"))).state is State.PENDING
    side.configure("one")
    assert (await queue.vote(two.id, says("ada"))).state is State.PENDING


@on_both
async def test_an_approval_after_its_time_does_not_count(side: Side) -> None:
    queue, opened = side.humans.queue, await side.open(1)
    side.clock.time += 60  # and nobody has woken who would end it
    with pytest.raises(NoSuchTransition, match=f"`{opened.id}` has timed out"):
        await queue.vote(opened.id, says("ada"))
    assert queue.find(opened.id) == opened


@on_both
async def test_a_rejection_wins_over_an_approval(side: Side) -> None:
    queue, opened = side.humans.queue, await side.open(1)
    await queue.vote(opened.id, says("ada"))
    ended = await queue.vote(opened.id, says("bob", REJECT, reason="no"))
    assert (ended.state, ended.ending, ended.reason, ended.ended) == (
        State.REJECTED, Ending.REJECTED, "no", side.clock.now(),
    )  # fmt: skip
    assert [vote.name for vote in ended.votes] == ["ada", "bob"]
    for late in (says("bob", REJECT), says("cyd")):
        with pytest.raises(NoSuchTransition, match="cannot follow `rejected`; allowed: nothing"):
            await queue.vote(opened.id, late)


@on_both
async def test_who_changes_their_mind_counts_as_they_said_last(side: Side) -> None:
    queue, opened = side.humans.queue, await side.open(1, "two")
    await queue.vote(opened.id, says("ada"))
    ended = await queue.vote(opened.id, says("ada", REJECT))
    assert [(vote.name, vote.verdict) for vote in ended.votes] == [("ada", REJECT)]


@on_both
async def test_what_is_being_sent_is_found_and_takes_no_other_word(side: Side) -> None:
    queue, opened = side.humans.queue, await side.open(1)
    given = await queue.vote(opened.id, says("ada"))
    await side.step(opened.id, Transition.SEND)
    assert not queue.pending()
    sending = queue.find(opened.id)
    assert sending is not None
    assert sending.state is State.SENDING
    assert (await queue.vote(opened.id, says("ada"))).votes == given.votes, "said before"
    for verdict, words in ((REJECT, "`reject` cannot"), (APPROVE, "`approve` cannot")):
        with pytest.raises(NoSuchTransition, match=f"{words} follow `sending`"):
            await queue.vote(opened.id, says("bob", verdict))


@on_both
async def test_an_id_that_nobody_gave_is_not_there(side: Side) -> None:
    queue = side.humans.queue
    assert queue.find("tg_none") is None
    with pytest.raises(NoSuchTransition, match="no approval `tg_none` is open here"):
        await queue.vote("tg_none", says("ada"))
    await queue.set_message_ref("tg_none", "nowhere")


@pytest.mark.parametrize("flow", ["gone", "moved"])
@pytest.mark.parametrize("which", list(SIDES))
@run
async def test_without_its_workflow_no_word_counts(tmp_path: Path, which: str, flow: str) -> None:
    async with SIDES[which](tmp_path) as side:
        queue, opened = side.humans.queue, await side.open(1)
        workflow = queue.workflow(opened)
        assert workflow is not None
        assert workflow.valid_for == 30.0
        side.configure(flow)
        assert queue.workflow(opened) is None
        assert queue.find(opened.id) == opened, "it is there all the same"
        with pytest.raises(NoSuchTransition, match=f"no approval `{opened.id}` is open here"):
            await queue.vote(opened.id, says("ada"))


@on_both
async def test_a_vote_that_cannot_be_written_does_not_count(side: Side) -> None:
    queue, opened = side.humans.queue, await side.open(1)
    await side.spoil(spoilt=True)
    with pytest.raises(StoreUnavailable, match="the store of approvals: it cannot be written"):
        await queue.vote(opened.id, says("ada"))
    with pytest.raises(StoreUnavailable, match="the store of approvals: it cannot be written"):
        await queue.set_message_ref(opened.id, "elsewhere")
    assert queue.find(opened.id) == opened
    await side.spoil(spoilt=False)
    assert (await queue.vote(opened.id, says("ada"))).state is State.APPROVED


@on_both
async def test_the_note_of_where_the_humans_were_told_may_be_replaced(side: Side) -> None:
    queue, opened = side.humans.queue, await side.open(1)
    assert opened.message_ref == "message 1"
    await queue.set_message_ref(opened.id, "message 2")
    found = queue.find(opened.id)
    assert found is not None
    assert (found.message_ref, found.state) == ("message 2", State.PENDING)


@on_both
async def test_what_waits_is_listed_oldest_first_and_what_ended_newest_first(side: Side) -> None:
    queue, opened = side.humans.queue, []
    for number in range(4):
        opened.append(await side.open(number))
        side.clock.move(1)
    for id in (opened[2].id, opened[0].id):
        await queue.vote(id, says("ada", REJECT))
        side.clock.move(1)
    given = await queue.vote(opened[1].id, says("ada"))
    assert [one.id for one in queue.pending()] == [given.id, opened[3].id]
    assert [one.id for one in queue.recent()] == [opened[0].id, opened[2].id]


@on_both
async def test_the_humans_hear_of_each_word_and_each_state(side: Side) -> None:
    opened, told = await side.open(1, "two"), side.humans.told
    assert [one.id for one in side.humans.asked] == [opened.id]
    await side.humans.queue.vote(opened.id, says("ada"))
    await within(lambda: told and len(told[-1].votes) == 1, "the first word")
    await side.humans.queue.vote(opened.id, says("bob"))
    await within(lambda: told[-1].state is State.APPROVED, "the decision")
    await side.step(opened.id, Transition.EXPIRE)
    await within(lambda: told[-1].state is State.EXPIRED, "the end")


@pytest.mark.parametrize("which", list(SIDES))
@run
async def test_who_cannot_be_asked_hears_of_the_end(tmp_path: Path, which: str) -> None:
    async with SIDES[which](tmp_path) as side:
        side.humans.cannot = AskFailed("nobody is there", "test")
        try:
            await side.open(1)
        except AskFailed:
            assert which == "the fake", "which raises what the notifier writes down"
        await within(lambda: side.humans.told, "the end")
        ended = side.humans.told[-1]
        assert (ended.state, ended.ending) == (State.CANCELLED, Ending.NOT_TOLD)
        assert ended.reason == "nobody is there"
        assert not side.humans.queue.pending()


# What may happen: who says what to which of three, and what becomes of them and their file.
ACTIONS = st.one_of(
    st.tuples(
        st.just("vote"), st.integers(0, 3), st.sampled_from(["ada", "bob"]),
        st.sampled_from(list(VoteValue)),
    ),
    st.tuples(st.just("step"), st.integers(0, 2), st.sampled_from(list(Transition))),
    st.tuples(st.just("note"), st.integers(0, 3)),
    st.tuples(st.just("flow"), st.sampled_from(list(FLOWS))),
    st.tuples(st.just("wait"), st.sampled_from([1, 29, 60])),
    st.tuples(st.just("spoil"), st.booleans()),
)  # fmt: skip


async def _seen(side: Side, actions: list[tuple[Any, ...]]) -> list[object]:
    """What came of each action, and what the lists held after it; ids as numbers."""
    opened = [(await side.open(n, "two" if n == 1 else "one")).id for n in range(3)]
    ids, queue, seen = [*opened, "tg_none"], side.humans.queue, list[object]()

    def facts(one: Approval) -> tuple[object, ...]:
        return (
            ids.index(one.id), one.state, one.votes, one.required, one.decided, one.valid_until,
            one.ended, one.ending, one.reason, one.message_ref,
        )  # fmt: skip

    for action in actions:
        try:
            match action:
                case "vote", int(which), str(who), VoteValue() as verdict:
                    seen.append(facts(await queue.vote(ids[which], says(who, verdict))))
                case "step", int(which), Transition() as step:
                    await side.step(ids[which], step)
                case "note", int(which):
                    await queue.set_message_ref(ids[which], f"note {len(seen)}")
                case "flow", str(flow):
                    side.configure(flow)
                case "wait", int(seconds):
                    side.clock.time += seconds  # and nobody wakes
                case "spoil", bool(spoilt):
                    await side.spoil(spoilt=spoilt)
        except (NoSuchTransition, StoreUnavailable) as error:
            said = str(error)
            for number, id in enumerate(ids):
                said = said.replace(f"`{id}`", str(number))
            seen.append((type(error), said))
        seen.append([[facts(one) for one in ones] for ones in (queue.pending(), queue.recent())])
    return seen


@given(st.lists(ACTIONS, min_size=4, max_size=12))
@settings(max_examples=40)
def test_whatever_happens_both_say_the_same(actions: list[tuple[Any, ...]]) -> None:
    @run
    async def test() -> None:
        with tempfile.TemporaryDirectory() as name:
            seen = []
            for begin in SIDES.values():
                async with begin(Path(name)) as side:
                    seen.append(await _seen(side, actions))
        for fake, real in zip(*seen, strict=True):
            assert fake == real

    test()
