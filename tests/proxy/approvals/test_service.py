"""The service opens approvals, waits for them, and knows who is waiting."""

import asyncio
from pathlib import Path

import pytest

from tests.harness.approval_service import Carrier, a_call, world
from tests.harness.clock import ManualClock
from tests.harness.policy import AGENT
from tests.harness.wait import run, soon, within
from thoughtgate_proxy.approvals.dispatcher import Closed
from thoughtgate_proxy.approvals.service import OpenRefused
from thoughtgate_proxy.core.approval import Ending, NoSuchTransition, State, VoteValue


@run
async def test_the_same_call_joins_what_is_pending_and_humans_are_asked_once(
    tmp_path: Path,
) -> None:
    async with world(tmp_path) as w:
        first, *others = await asyncio.gather(*(w.open(a_call(id=n)) for n in range(5)))
        assert {other.id for other in others} == {first.id}
        assert (await w.open(a_call(user="bob"))).id != first.id
        assert (await w.open(a_call(credential="0a"))).id != first.id
        await w.asked(3)
        assert len(w.page.asked) == 3


@run
async def test_waiting_ends_after_its_seconds_with_what_is(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        opened = await w.open()
        waiting = asyncio.create_task(w.service.settled(opened.id, 50))
        await within(lambda: len(w.clock.alarms) >= 2, "the timers")
        w.clock.move(49)
        await asyncio.sleep(0)
        assert not waiting.done()
        w.clock.move(1)
        assert (await soon(waiting, "the end of waiting")).state is State.PENDING


@run
async def test_only_so_many_may_wait(tmp_path: Path) -> None:
    async with world(tmp_path, limits={"pending_approvals": 2}) as w:
        for n in range(2):
            await w.open(a_call(n=n))
        with pytest.raises(OpenRefused, match="2 calls wait") as refused:
            await w.open(a_call(n=3))
        assert (refused.value.kind, refused.value.retry_after) == ("pending_approvals", 60)
        assert (await w.open(a_call(n=1))).state is State.PENDING, "one more does not join twice"
        assert (await w.audit())[-2]["kind"] == "pending_approvals"


@run
async def test_a_workflow_takes_so_many_an_hour_across_restarts(tmp_path: Path) -> None:
    flow = {"adapter": "page", "limit": "2/h"}
    async with world(tmp_path, approval={"default": flow}) as w:
        for n in range(2):
            await w.service.cancel((await w.open(a_call(n=n))).id, "changed its mind")
            w.clock.move(600)
        await w.restart()
        with pytest.raises(OpenRefused, match="2 requests in 3600 s") as refused:
            await w.open(a_call(n=3))
        assert refused.value.retry_after == 2400
        w.clock.move(2400)
        assert (await w.open(a_call(n=3))).state is State.PENDING


@run
async def test_the_caller_may_cancel(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval = await w.approved()
        await w.service.cancel(approval.id, "the agent cancelled it")
        carrier = Carrier()
        outcome = await w.dispatch(approval.id, "", carrier)
        assert (outcome.approval.ending, carrier.permits) == (Ending.CANCELLED, [])
        with pytest.raises(NoSuchTransition):
            await w.service.cancel(approval.id, "again")


@run
async def test_a_caller_who_leaves_is_marked_and_unmarked(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        opened = await w.open()
        await w.asked()
        with w.service.attending(opened.id), w.service.attending(opened.id) as second:
            second.answered()
        await within(lambda: w.page.queue.pending()[0].caller_left, "the mark")
        await within(lambda: w.page.told and w.page.told[-1].caller_left, "the humans")
        with w.service.attending(opened.id) as back:
            await within(lambda: not w.page.queue.pending()[0].caller_left, "the mark's end")
            back.answered()
        await asyncio.sleep(0)
        assert not w.page.queue.pending()[0].caller_left


@run
async def test_a_workflow_may_cancel_what_its_caller_left(tmp_path: Path) -> None:
    flow = {"adapter": "page", "on_disconnect": "cancel"}
    async with world(tmp_path, approval={"default": flow}) as w:
        opened = await w.open()
        with w.service.attending(opened.id):
            pass
        assert (await w.comes_to(opened.id, State.CANCELLED)).ending is Ending.DISCONNECTED


@run
async def test_closing_ends_the_waiting_and_keeps_what_is_pending(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        opened = await w.open()
        await w.asked()
        waiting = asyncio.create_task(w.service.settled(opened.id, 50))
        await asyncio.sleep(0.01)
        w.service.close()
        with pytest.raises(Closed):
            await soon(waiting, "the end")
        with pytest.raises(OpenRefused, match="restarting"):
            await w.open()
        await w.service.finished()
        await w.start()
        assert (await w.open()).id == opened.id
        assert not w.page.asked, "they were asked already"
        w.clock.move(30)
        assert (await w.page.say(opened.id, VoteValue.APPROVE)).state is State.APPROVED


@run
async def test_states_are_signed_with_a_key_that_outlives_the_process(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        mac = w.service.sign(b"payload")
        assert await w.service.spend("n1", w.clock.now() + 100)
        await w.restart()
        assert w.service.verify(b"payload", mac)
        assert not w.service.verify(b"payloae", mac)
        assert not await w.service.spend("n1", w.clock.now() + 100)


@run
async def test_only_so_many_bytes_may_wait_together(tmp_path: Path) -> None:
    part = 4 << 20
    some = [a_call(n=n, x="a" * (part - len(a_call(n=n, x="").body))) for n in range(4)]
    async with world(tmp_path) as w:
        first, *_ = [await w.open(one) for one in some]
        for state in (State.PENDING, State.APPROVED):
            with pytest.raises(OpenRefused, match="would hold 16777") as refused:
                await w.open(a_call(n=5))
            assert refused.value.kind == "pending_approvals"
            if state is State.PENDING:
                await w.asked(4)
                await w.page.say(first.id, VoteValue.APPROVE)
        assert (await w.open(some[1])).state is State.PENDING, "what joins takes no more room"
        await w.service.cancel(first.id, "changed its mind")
        assert (await w.open(a_call(n=5))).state is State.PENDING


@run
async def test_a_caller_sees_its_own_approvals_newest_first(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        one, two = await w.open(a_call(n=1)), await w.open(a_call(n=2))
        await w.open(a_call(n=3, credential="aa"))
        assert [a.id for a in w.service.of_caller(AGENT, "")] == [two.id, one.id]
        assert w.service.of_caller("another-team/agent", "") == []
        assert len(w.service.of_caller(AGENT, "aa")) == 1


@run
async def test_a_caller_who_is_cut_off_by_our_own_end_has_not_left(tmp_path: Path) -> None:
    flow = {"adapter": "page", "on_disconnect": "cancel"}
    async with world(tmp_path, approval={"default": flow}) as w:
        opened = await w.open()
        await w.asked()
        with w.service.attending(opened.id):
            w.service.close()
        await w.service.finished()
        await w.start()
        assert await w.state(opened.id) is State.PENDING


@run
async def test_one_workflows_limit_does_not_count_anothers_requests(tmp_path: Path) -> None:
    flow = {"adapter": "page", "limit": "1/h"}
    async with world(tmp_path, approval={"default": flow, "other": flow}) as w:
        await w.open(a_call(n=1), "other")
        assert (await w.open(a_call(n=2))).state is State.PENDING
        with pytest.raises(OpenRefused, match="`default` takes 1 requests"):
            await w.open(a_call(n=3))


@run
async def test_a_result_waits_for_its_caller_for_valid_for_and_no_longer(tmp_path: Path) -> None:
    async with world(tmp_path, ManualClock()) as w:
        approval = await w.approved()
        await w.dispatch(approval.id, "", Carrier())
        w.clock.move(29)
        assert (await w.open()).id == approval.id
        w.clock.move(1)
        again = await w.open()
        assert (again.id == approval.id, again.state) == (False, State.PENDING)
        (line,) = [line for line in await w.audit() if line["step"] == "result not fetched"]
        assert line["approval"] == approval.id
