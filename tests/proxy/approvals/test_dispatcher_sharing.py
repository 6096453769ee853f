"""A call is sent once, and all who wait for it share what came of it."""

import asyncio
from pathlib import Path

import pytest

from tests.harness.approval_service import RESULT, Carrier, a_call, world
from tests.harness.wait import run, soon, within
from thoughtgate_proxy.approvals.dispatcher import OtherCaller
from thoughtgate_proxy.core.approval import State, VoteValue


@run
async def test_an_approved_call_is_sent_once_with_its_own_bytes(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        call = a_call(user="ada")
        opened = await w.open(call)
        assert (opened.state, opened.required) == (State.PENDING, 1)
        waiting = asyncio.create_task(w.service.settled(opened.id, 50))
        await w.asked()
        await w.page.say(opened.id, VoteValue.APPROVE)
        assert (await soon(waiting, "the decision")).state is State.APPROVED
        carrier = Carrier()
        outcome = await w.dispatch(opened.id, "", carrier)
        assert (outcome.approval.state, outcome.result, outcome.shared) == (
            State.DONE, RESULT, False,
        )  # fmt: skip
        assert [permit.body for permit in carrier.permits] == [call.body]
        assert carrier.permits[0].target == call.target
        again = await w.dispatch(opened.id, "", carrier)
        assert (again.result, again.shared, len(carrier.permits)) == (RESULT, True, 1)


@run
async def test_joined_waiters_share_one_sending(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval = await w.approved()
        carrier = Carrier(hold=asyncio.Event())
        assert carrier.hold is not None
        waiting = [asyncio.create_task(w.dispatch(approval.id, "", carrier)) for _ in range(5)]
        await within(lambda: carrier.permits, "the sending")
        assert (await w.open()).id == approval.id
        carrier.hold.set()
        outcomes = await asyncio.gather(*waiting)
        assert [outcome.shared for outcome in outcomes].count(False) == 1
        assert {outcome.result for outcome in outcomes} == {RESULT}
        assert len(carrier.permits) == 1


@run
async def test_a_result_waits_for_a_caller_who_left_while_it_was_sent(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval = await w.approved()
        carrier = Carrier(hold=asyncio.Event())
        assert carrier.hold is not None
        leaving = asyncio.create_task(w.dispatch(approval.id, "", carrier))
        await within(lambda: carrier.permits, "the sending")
        leaving.cancel()
        carrier.hold.set()
        await w.comes_to(approval.id, State.DONE)
        back = await w.open()
        outcome = await w.dispatch(back.id, "", carrier)
        assert (outcome.result, outcome.shared, len(carrier.permits)) == (RESULT, True, 1)


@run
async def test_after_delivery_the_same_call_is_a_new_request(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval = await w.approved()
        await w.dispatch(approval.id, "", Carrier())
        assert (await w.open()).id == approval.id, "nobody has the result yet"
        await w.service.delivered(approval.id)
        assert (await w.open()).id != approval.id
        found = await w.service.find(approval.id)
        assert found is not None
        assert found.result == RESULT, "a task may still be asked for it"


@run
async def test_another_callers_request_carries_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval = await w.approved(a_call(credential="aa"))
        for other in ("", "ab"):
            with pytest.raises(OtherCaller):
                await w.dispatch(approval.id, other, Carrier())
        assert (await w.dispatch(approval.id, "aa", Carrier())).result == RESULT
