"""What votes come to: how many, whose, and which of them wins."""

import asyncio
from pathlib import Path

import pytest

from tests.harness.approval_service import Carrier, world
from tests.harness.wait import run
from thoughtgate_proxy.core.approval import Ending, NoSuchTransition, State, VoteValue


@run
async def test_a_rejection_ends_it_and_is_remembered_for_a_minute(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        opened = await w.open()
        await w.asked()
        await w.page.say(opened.id, VoteValue.REJECT, reason="not on a Friday")
        carrier = Carrier()
        outcome = await w.dispatch(opened.id, "", carrier)
        assert (outcome.approval.ending, outcome.approval.reason) == (
            Ending.REJECTED, "not on a Friday",
        )  # fmt: skip
        await w.service.delivered(opened.id)
        w.clock.move(59)
        assert (await w.open()).id == opened.id
        await w.restart()
        again = await w.open()
        assert (again.id, again.state) == (opened.id, State.REJECTED)
        w.clock.move(2)
        assert (await w.open()).state is State.PENDING
        assert not carrier.permits


@run
async def test_so_many_different_approvers_must_approve(tmp_path: Path) -> None:
    flow = {"adapter": "page", "approvers": ["ada", "bob", "cy"], "required": 2}
    async with world(tmp_path, approval={"default": flow}) as w:
        opened = await w.open()
        await w.asked()
        for _ in range(3):
            assert (await w.page.say(opened.id, VoteValue.APPROVE)).state is State.PENDING
        await w.restart()
        approved = await w.page.say(opened.id, VoteValue.APPROVE, "bob")
        assert (approved.state, approved.approvers) == (State.APPROVED, ("ada", "bob"))


@run
async def test_a_rejection_wins_until_the_call_has_gone(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval = await w.approved()
        await w.page.say(approval.id, VoteValue.REJECT, "bob")
        carrier = Carrier()
        outcome = await w.dispatch(approval.id, "", carrier)
        assert (outcome.approval.state, carrier.permits) == (State.REJECTED, [])
        with pytest.raises(NoSuchTransition):
            await w.page.say(approval.id, VoteValue.APPROVE)


@run
async def test_approvers_who_decide_at_once_are_all_counted(tmp_path: Path) -> None:
    flow = {"adapter": "page", "approvers": ["ada", "bob"], "required": 2}
    async with world(tmp_path, approval={"default": flow}) as w:
        opened = await w.open()
        await w.asked()
        votes = (w.page.say(opened.id, VoteValue.APPROVE, who) for who in ("ada", "bob"))
        await asyncio.gather(*votes)
        assert await w.state(opened.id) is State.APPROVED


@run
async def test_an_approver_may_think_better_of_it(tmp_path: Path) -> None:
    flow = {"adapter": "page", "approvers": ["ada", "bob"], "required": 2}
    async with world(tmp_path, approval={"default": flow}) as w:
        opened = await w.open()
        await w.asked()
        assert (await w.page.say(opened.id, VoteValue.APPROVE)).state is State.PENDING
        rejected = await w.page.say(opened.id, VoteValue.REJECT, reason="it is Friday")
        assert (rejected.state, rejected.reason) == (State.REJECTED, "it is Friday")
        assert rejected.approvers == ()


@run
async def test_a_vote_after_the_time_counts_no_more_even_before_the_timer(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        opened = await w.open()
        await w.asked()
        w.clock.time = opened.expires
        with pytest.raises(NoSuchTransition, match="timed out"):
            await w.page.say(opened.id, VoteValue.APPROVE)


@run
async def test_an_approval_counts_from_the_vote_that_was_enough(tmp_path: Path) -> None:
    flow = {"adapter": "page", "timeout": "60s", "valid_for": "30s"}
    async with world(tmp_path, approval={"default": {**flow, "approvers": ["ada", "bob"]}}) as w:
        opened = await w.open()
        await w.asked()
        w.clock.move(50)
        approved = await w.page.say(opened.id, VoteValue.APPROVE)
        assert approved.valid_until == opened.opened + 80
        w.clock.move(29)
        carrier = Carrier()
        assert (await w.dispatch(opened.id, "", carrier)).approval.state is State.DONE
        assert len(carrier.permits) == 1
