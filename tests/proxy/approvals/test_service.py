"""The desk opens, waits, counts votes and sends once."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from tests.harness import approval_service
from tests.harness.approval_service import RESULT, Carrier, a_call, world
from tests.harness.policy import AGENT
from tests.harness.wait import run, soon, within
from thoughtgate_proxy.approvals import supervisor
from thoughtgate_proxy.approvals.channels.channel import AskFailed, StoreUnavailable
from thoughtgate_proxy.approvals.service import Closed, OpenRefused, OtherCaller
from thoughtgate_proxy.approvals.store.schema import NAME
from thoughtgate_proxy.approvals.store.sqlite import Store
from thoughtgate_proxy.core.approval import Approval, Ending, NoSuchTransition, State, VoteValue


@run
async def test_an_approved_call_is_sent_once_with_its_own_bytes(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        call = a_call(user="ada")
        opened = await w.open(call)
        assert (opened.state, opened.required) == (State.PENDING, 1)
        waiting = asyncio.create_task(w.desk.settled(opened.id, 50))
        await w.asked()
        await w.page.say(opened.id, VoteValue.APPROVE)
        assert (await soon(waiting, "the decision")).state is State.APPROVED
        carrier = Carrier()
        outcome = await w.desk.dispatch(opened.id, "", carrier)
        assert (outcome.approval.state, outcome.result, outcome.shared) == (
            State.DONE, RESULT, False,
        )  # fmt: skip
        assert [permit.body for permit in carrier.permits] == [call.body]
        assert carrier.permits[0].target == call.target
        again = await w.desk.dispatch(opened.id, "", carrier)
        assert (again.result, again.shared, len(carrier.permits)) == (RESULT, True, 1)


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
async def test_joined_waiters_share_one_sending(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval = await w.approved()
        carrier = Carrier(hold=asyncio.Event())
        assert carrier.hold is not None
        waiting = [asyncio.create_task(w.desk.dispatch(approval.id, "", carrier)) for _ in range(5)]
        await within(lambda: carrier.permits, "the sending")
        assert (await w.open()).id == approval.id
        carrier.hold.set()
        outcomes = await asyncio.gather(*waiting)
        assert [outcome.shared for outcome in outcomes].count(False) == 1
        assert {outcome.result for outcome in outcomes} == {RESULT}
        assert len(carrier.permits) == 1


@run
async def test_after_delivery_the_same_call_is_a_new_request(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval = await w.approved()
        await w.desk.dispatch(approval.id, "", Carrier())
        assert (await w.open()).id == approval.id, "nobody has the result yet"
        await w.desk.delivered(approval.id)
        assert (await w.open()).id != approval.id
        found = await w.desk.find(approval.id)
        assert found is not None
        assert found.result == RESULT, "a task may still be asked for it"


@run
async def test_a_result_waits_for_a_caller_who_left_while_it_was_sent(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval = await w.approved()
        carrier = Carrier(hold=asyncio.Event())
        assert carrier.hold is not None
        leaving = asyncio.create_task(w.desk.dispatch(approval.id, "", carrier))
        await within(lambda: carrier.permits, "the sending")
        leaving.cancel()
        carrier.hold.set()
        await w.comes_to(approval.id, State.DONE)
        back = await w.open()
        outcome = await w.desk.dispatch(back.id, "", carrier)
        assert (outcome.result, outcome.shared, len(carrier.permits)) == (RESULT, True, 1)


@run
async def test_a_rejection_ends_it_and_is_remembered_for_a_minute(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        opened = await w.open()
        await w.asked()
        await w.page.say(opened.id, VoteValue.REJECT, reason="not on a Friday")
        carrier = Carrier()
        outcome = await w.desk.dispatch(opened.id, "", carrier)
        assert (outcome.approval.ending, outcome.approval.reason) == (
            Ending.REJECTED, "not on a Friday",
        )  # fmt: skip
        await w.desk.delivered(opened.id)
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
        outcome = await w.desk.dispatch(approval.id, "", carrier)
        assert (outcome.approval.state, carrier.permits) == (State.REJECTED, [])
        with pytest.raises(NoSuchTransition):
            await w.page.say(approval.id, VoteValue.APPROVE)


@run
async def test_nobody_deciding_in_time_denies(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        opened = await w.open()
        await w.asked()
        waiting = asyncio.create_task(w.desk.settled(opened.id, 1000))
        await within(lambda: len(w.clock.alarms) >= 2, "the timers")
        w.clock.move(60)
        ended = await soon(waiting, "the end")
        assert (ended.state, ended.ending) == (State.EXPIRED, Ending.TIMED_OUT)
        with pytest.raises(NoSuchTransition):
            await w.page.say(opened.id, VoteValue.APPROVE)


@run
async def test_a_vote_after_the_time_counts_no_more_even_before_the_timer(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        opened = await w.open()
        await w.asked()
        w.clock.time = opened.expires
        with pytest.raises(NoSuchTransition, match="timed out"):
            await w.page.say(opened.id, VoteValue.APPROVE)


@run
async def test_an_approval_that_is_not_used_in_time_expires(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval = await w.approved()
        assert approval.valid_until == w.clock.time + 30
        w.clock.time += 30  # the timer has not rung yet
        carrier = Carrier()
        outcome = await w.desk.dispatch(approval.id, "", carrier)
        assert (outcome.approval.state, outcome.approval.ending) == (
            State.EXPIRED, Ending.NOT_USED,
        )  # fmt: skip
        assert not carrier.permits


@run
async def test_waiting_ends_after_its_seconds_with_what_is(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        opened = await w.open()
        waiting = asyncio.create_task(w.desk.settled(opened.id, 50))
        await within(lambda: len(w.clock.alarms) >= 2, "the timers")
        w.clock.move(49)
        await asyncio.sleep(0)
        assert not waiting.done()
        w.clock.move(1)
        assert (await soon(waiting, "the end of waiting")).state is State.PENDING


@run
async def test_another_callers_request_carries_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval = await w.approved(a_call(credential="aa"))
        for other in ("", "ab"):
            with pytest.raises(OtherCaller):
                await w.desk.dispatch(approval.id, other, Carrier())
        assert (await w.desk.dispatch(approval.id, "aa", Carrier())).result == RESULT


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
            await w.desk.cancel((await w.open(a_call(n=n))).id, "changed its mind")
            w.clock.move(600)
        await w.restart()
        with pytest.raises(OpenRefused, match="2 requests in 3600 s") as refused:
            await w.open(a_call(n=3))
        assert refused.value.retry_after == 2400
        w.clock.move(2400)
        assert (await w.open(a_call(n=3))).state is State.PENDING


@run
async def test_what_the_humans_cannot_be_told_is_not_left_pending(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.page.cannot = AskFailed("Slack does not know the channel", "slack_channel")
        opened = await w.open()
        ended = await soon(w.desk.settled(opened.id, 50), "the end")
        assert (ended.ending, ended.reason) == (Ending.NOT_TOLD, "Slack does not know the channel")
        assert not w.page.docket.pending()
        await within(lambda: w.page.told, "a message that may stand there all the same to be told")
        assert w.page.told[-1].ending is Ending.NOT_TOLD
        await within(lambda: not w.desk._upkeep._following, "the herald")
        await w.restart()
        assert not w.page.told, "they know"


@run
async def test_the_humans_hear_of_each_state(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval = await w.approved()
        await within(lambda: w.page.told, "the first word")
        await w.desk.dispatch(approval.id, "", Carrier())
        await within(lambda: w.page.told[-1].state is State.DONE, "the last word")
        assert w.page.told[-1].announced == "message 1"
        await within(lambda: not w.desk._upkeep._following, "the herald")
        await w.restart()
        assert not w.page.told, "they know"
        assert not w.page.asked


@run
async def test_the_caller_may_cancel(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval = await w.approved()
        await w.desk.cancel(approval.id, "the agent cancelled it")
        carrier = Carrier()
        outcome = await w.desk.dispatch(approval.id, "", carrier)
        assert (outcome.approval.ending, carrier.permits) == (Ending.CANCELLED, [])
        with pytest.raises(NoSuchTransition):
            await w.desk.cancel(approval.id, "again")


@run
async def test_a_caller_who_leaves_is_marked_and_unmarked(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        opened = await w.open()
        await w.asked()
        with w.desk.attending(opened.id), w.desk.attending(opened.id) as second:
            second.answered()
        await within(lambda: w.page.docket.pending()[0].caller_left, "the mark")
        await within(lambda: w.page.told and w.page.told[-1].caller_left, "the humans")
        with w.desk.attending(opened.id) as back:
            await within(lambda: not w.page.docket.pending()[0].caller_left, "the mark's end")
            back.answered()
        await asyncio.sleep(0)
        assert not w.page.docket.pending()[0].caller_left


@run
async def test_a_workflow_may_cancel_what_its_caller_left(tmp_path: Path) -> None:
    flow = {"adapter": "page", "on_disconnect": "cancel"}
    async with world(tmp_path, approval={"default": flow}) as w:
        opened = await w.open()
        with w.desk.attending(opened.id):
            pass
        assert (await w.comes_to(opened.id, State.CANCELLED)).ending is Ending.DISCONNECTED


@run
async def test_closing_ends_the_waiting_and_keeps_what_is_pending(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        opened = await w.open()
        await w.asked()
        waiting = asyncio.create_task(w.desk.settled(opened.id, 50))
        await asyncio.sleep(0.01)
        w.desk.close()
        with pytest.raises(Closed):
            await soon(waiting, "the end")
        with pytest.raises(OpenRefused, match="restarting"):
            await w.open()
        await w.desk.finished()
        await w.start()
        assert (await w.open()).id == opened.id
        assert not w.page.asked, "they were asked already"
        w.clock.move(30)
        assert (await w.page.say(opened.id, VoteValue.APPROVE)).state is State.APPROVED


@run
async def test_states_are_signed_with_a_key_that_outlives_the_process(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        mac = w.desk.sign(b"payload")
        assert await w.desk.spend("n1", w.clock.now() + 100)
        await w.restart()
        assert w.desk.verify(b"payload", mac)
        assert not w.desk.verify(b"payloae", mac)
        assert not await w.desk.spend("n1", w.clock.now() + 100)


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
        await w.desk.cancel(first.id, "changed its mind")
        assert (await w.open(a_call(n=5))).state is State.PENDING


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
async def test_a_caller_sees_its_own_approvals_newest_first(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        one, two = await w.open(a_call(n=1)), await w.open(a_call(n=2))
        await w.open(a_call(n=3, credential="aa"))
        assert [a.id for a in w.desk.of_caller(AGENT, "")] == [two.id, one.id]
        assert w.desk.of_caller("another-team/agent", "") == []
        assert len(w.desk.of_caller(AGENT, "aa")) == 1


@run
async def test_a_caller_who_is_cut_off_by_our_own_end_has_not_left(tmp_path: Path) -> None:
    flow = {"adapter": "page", "on_disconnect": "cancel"}
    async with world(tmp_path, approval={"default": flow}) as w:
        opened = await w.open()
        await w.asked()
        with w.desk.attending(opened.id):
            w.desk.close()
        await w.desk.finished()
        await w.start()
        assert await w.state(opened.id) is State.PENDING


@run
async def test_an_approval_that_nobody_comes_for_expires_by_itself(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval = await w.approved()
        await within(lambda: w.clock.next_at == approval.valid_until, "the timer")
        w.clock.move(30)
        assert (await w.comes_to(approval.id, State.EXPIRED)).ending is Ending.NOT_USED


@run
async def test_what_was_cut_off_is_unknown_even_if_the_disk_refuses_to_say_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class ReadOnly(Store):
        async def step(self, *_: object, **__: object) -> Approval:
            raise StoreUnavailable("the disk is full")

    async with world(tmp_path) as w:
        approval = await w.approved()
        await w.stop()
        with sqlite3.connect(tmp_path / NAME) as db:
            db.execute("UPDATE approval SET state = 'sending'")
        db.close()
        monkeypatch.setattr(approval_service, "Store", ReadOnly)
        await w.start()
        carrier = Carrier()
        outcome = await w.desk.dispatch(approval.id, "", carrier)
        assert (outcome.approval.state, carrier.permits) == (State.UNKNOWN, [])
        assert "cut off" in outcome.approval.reason


@run
async def test_one_workflows_limit_does_not_count_anothers_requests(tmp_path: Path) -> None:
    flow = {"adapter": "page", "limit": "1/h"}
    async with world(tmp_path, approval={"default": flow, "other": flow}) as w:
        await w.open(a_call(n=1), "other")
        assert (await w.open(a_call(n=2))).state is State.PENDING
        with pytest.raises(OpenRefused, match="`default` takes 1 requests"):
            await w.open(a_call(n=3))


@run
async def test_an_adapter_that_fails_at_asking_leaves_nothing_pending(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.page.cannot = RuntimeError("a mistake of ours")
        opened = await w.open()
        ended = await soon(w.desk.settled(opened.id, 50), "the end")
        assert (ended.state, ended.ending) == (State.CANCELLED, Ending.NOT_TOLD)
        assert "mistake" not in ended.reason, "that is for the log"


@run
async def test_a_restart_tells_the_humans_nothing_that_they_know(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval = await w.approved()
        await within(lambda: w.page.told, "the first word")
        await within(lambda: w.page.docket.pending()[0].told is State.APPROVED, "the note of it")
        await w.restart()
        await w.page.say(approval.id, VoteValue.REJECT, "bob")
        await within(lambda: w.page.told, "the news")
        assert [told.state for told in w.page.told] == [State.REJECTED]


@run
async def test_an_adapter_that_fails_at_looking_looks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[approval_service.Humans] = []

    async def look(humans: approval_service.Humans) -> None:
        looked.append(humans)
        if len(looked) == 1:
            raise RuntimeError("a mistake of ours")
        await asyncio.Event().wait()

    monkeypatch.setattr(approval_service.Humans, "run", look)
    monkeypatch.setattr(supervisor, "_ADAPTER_AGAIN_SECONDS", 0.0)
    async with world(tmp_path) as w:
        await within(lambda: len(looked) == 2, "another look")
        assert looked == [w.page, w.page]
