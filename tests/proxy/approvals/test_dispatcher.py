"""An approved call goes out once, whatever fails on the way."""

import asyncio
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest

from tests.harness.approval_service import RESULT, Carrier, a_call, configured, world
from tests.harness.policy import SOURCE
from tests.harness.wait import run, within
from thoughtgate_proxy.approvals import dispatcher as dispatcher_module
from thoughtgate_proxy.approvals.audit import AuditLog
from thoughtgate_proxy.approvals.dispatcher import Closed, Dispatcher
from thoughtgate_proxy.approvals.registry import ApprovalRegistry
from thoughtgate_proxy.approvals.store.errors import StoreUnavailable
from thoughtgate_proxy.approvals.store.schema import NAME
from thoughtgate_proxy.approvals.store.sqlite import Store
from thoughtgate_proxy.core.approval import (
    TRANSITIONS,
    Approval,
    Ending,
    NoSuchTransition,
    State,
    Transition,
    Vote,
    VoteValue,
)
from thoughtgate_proxy.core.policy.engine import PolicyEngine
from thoughtgate_proxy.core.protocol.http import ReplyCut
from thoughtgate_proxy.telemetry import exposition
from thoughtgate_proxy.upstream.errors import UpstreamError


@run
async def test_what_never_left_may_still_be_sent(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval = await w.approved()
        down = Carrier(fails=UpstreamError("no connection", sent=False))
        outcome = await w.dispatch(approval.id, "", down)
        assert (outcome.approval.state, outcome.not_sent) == (State.APPROVED, "no connection")
        assert outcome.approval.valid_until == approval.valid_until
        assert (await w.dispatch(approval.id, "", Carrier())).result == RESULT
        states = [line["state"] for line in await w.audit() if line["step"] == "approved"]
        assert len(states) == 2
        assert b'outcome="approved"} 1.0' in exposition.text(w.metrics)


@pytest.mark.parametrize(
    "error",
    [
        UpstreamError("the reply did not come", sent=True),
        ReplyCut("the reply was cut short"),
        RuntimeError("a mistake of ours"),
    ],
    ids=lambda error: type(error).__name__,
)
@run
async def test_what_was_cut_off_is_unknown_and_never_sent_again(
    tmp_path: Path, error: Exception
) -> None:
    async with world(tmp_path) as w:
        approval = await w.approved()
        carrier = Carrier(fails=error)
        outcome = await w.dispatch(approval.id, "", carrier)
        assert (outcome.approval.state, outcome.approval.ending) == (State.UNKNOWN, Ending.UNKNOWN)
        joined = await w.open()
        assert joined.id == approval.id, "its caller must hear of it before it asks anew"
        await w.dispatch(joined.id, "", carrier)
        await w.restart()
        await w.dispatch(joined.id, "", carrier)
        assert len(carrier.permits) == 1
        await w.service.delivered(joined.id)
        assert (await w.open()).state is State.PENDING


@run
async def test_nothing_pending_is_sent(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        opened = await w.open()
        with pytest.raises(NoSuchTransition):
            await w.dispatch(opened.id, "", Carrier())
        with pytest.raises(KeyError):
            await w.dispatch("tg_nothing", "", Carrier())


@run
async def test_a_call_that_changed_on_disk_is_not_sent(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval = await w.approved(a_call(user="ada"))
        await w.stop()
        with sqlite3.connect(tmp_path / NAME) as db:
            db.execute("UPDATE body SET bytes = ?", (a_call(user="bob").body,))
        db.close()
        await w.start()
        carrier = Carrier()
        outcome = await w.dispatch(approval.id, "", carrier)
        assert (outcome.approval.ending, carrier.permits) == (Ending.RULED_OUT, [])
        assert "not the call that was approved" in outcome.approval.reason


@run
async def test_a_result_too_long_to_keep_is_given_to_its_carrier_alone(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval = await w.approved()
        assert (await w.dispatch(approval.id, "", Carrier(result=None))).approval.state == "done"
        again = await w.dispatch(approval.id, "", Carrier())
        assert (again.approval.state, again.result, again.shared) == (State.DONE, None, True)


@run
async def test_a_caller_who_leaves_does_not_stop_the_sending(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval = await w.approved()
        carrier = Carrier(hold=asyncio.Event())
        assert carrier.hold is not None
        other = await w.open(a_call(n=2))
        with w.service.attending(approval.id), w.service.attending(other.id):
            leaving = asyncio.create_task(w.dispatch(approval.id, "", carrier))
            await within(lambda: carrier.permits, "the sending")
            assert w.service.attended == 1, "the one that still waits for a human"
            leaving.cancel()
        carrier.hold.set()
        done = await w.comes_to(approval.id, State.DONE)
        assert (done.result, done.caller_left) == (RESULT, False)


@run
async def test_the_end_of_the_process_waits_for_what_is_being_sent(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval = await w.approved()
        carrier = Carrier(hold=asyncio.Event())
        assert carrier.hold is not None
        sending = asyncio.create_task(w.dispatch(approval.id, "", carrier))
        await within(lambda: carrier.permits, "the sending")
        w.service.close()
        ending = asyncio.create_task(w.service.finished())
        await asyncio.sleep(0.02)
        assert not ending.done()
        joining = asyncio.create_task(w.dispatch(approval.id, "", Carrier()))
        await asyncio.sleep(0)
        carrier.hold.set()
        assert (await sending).result == (await joining).result == RESULT
        await ending
        await w.start()
        assert await w.state(approval.id) is State.DONE


@run
async def test_the_end_of_the_process_begins_no_sending(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval, carrier = await w.approved(), Carrier()
        w.service.close()
        with pytest.raises(Closed):
            await w.dispatch(approval.id, "", carrier)
        assert carrier.permits == []


def test_nothing_leads_back_from_an_end_or_to_a_second_sending() -> None:
    ends = {State.DONE, State.REJECTED, State.EXPIRED, State.CANCELLED, State.UNKNOWN}
    assert {state for state in State if state.final} == ends
    assert [at for (at, step) in TRANSITIONS if step is Transition.SEND] == [State.APPROVED]
    # Only what never left comes back from being sent.
    back = {
        step for (at, step), to in TRANSITIONS.items() if at is State.SENDING and to not in ends
    }
    assert back == {Transition.NOT_SENT}


@pytest.mark.parametrize("change", ["a denial", "another server"])
@run
async def test_a_reload_between_the_check_and_the_sending_is_asked_too(
    tmp_path: Path, change: str
) -> None:
    moved = {"sources": [{**SOURCE, "url": "http://moved:1"}]}
    denial = {"governance": {"rules": [{"match": "*", "action": "deny"}]}}
    later = configured(**(denial if change == "a denial" else moved))
    # Whoever checks asks for the configuration once, and all later ones get another.
    gates = chain([configured()], repeat(later))
    async with dispatching(tmp_path, gate=lambda: next(gates)) as (dispatcher, store, approval):
        carrier = Carrier()
        ended = (await dispatcher.dispatch(approval.id, "", carrier)).approval
        on_disk = await store.find(approval.id)
        assert on_disk is not None
        assert on_disk.state is ended.state
        if change == "a denial":
            assert (ended.state, ended.ending) == (State.CANCELLED, Ending.RULED_OUT)
            assert "denies it" in ended.reason
            assert carrier.permits == []
        else:
            assert ended.state is State.DONE
            assert [permit.source.url for permit in carrier.permits] == ["http://moved:1"]


class Refusing(Store):
    """A store whose disk refuses some steps."""

    refused: Callable[[Transition, bytes | None], bool]

    async def step(
        self,
        approval: Approval,
        step: Transition,
        *,
        vote: Vote | None = None,
        result: bytes | None = None,
        **changes: Any,
    ) -> Approval:
        if self.refused(step, result):
            raise StoreUnavailable("the disk is full")
        return await super().step(approval, step, vote=vote, result=result, **changes)


@asynccontextmanager
async def dispatching(
    folder: Path,
    refused: Callable[[Transition, bytes | None], bool] = lambda _, __: False,
    gate: Callable[[], PolicyEngine] | None = None,
) -> AsyncIterator[tuple[Dispatcher, Store, Approval]]:
    """A dispatcher on a store of its own, with one approval to send."""
    async with world(folder / "world") as w:
        approval, audit = await w.approved(), AuditLog(w.record)
        store = Refusing(folder / "own")
        store.refused = refused
        registry = ApprovalRegistry(store, w.clock, audit, os.urandom)
        await registry.ready()
        await registry.add(approval)
        dispatcher = Dispatcher(store, registry, w.clock, audit, gate or (lambda: w.gate))
        yield dispatcher, store, approval
        await store.close()


@run
async def test_nothing_is_sent_that_is_not_on_disk_as_being_sent(tmp_path: Path) -> None:
    async with dispatching(tmp_path, lambda step, _: step is Transition.SEND) as (
        dispatcher, _, approval,
    ):  # fmt: skip
        carrier = Carrier()
        outcome = await dispatcher.dispatch(approval.id, "", carrier)
        assert (outcome.approval.state, outcome.not_sent) == (State.APPROVED, "the disk is full")
        assert carrier.permits == []


@run
async def test_a_result_for_which_the_disk_has_no_room_is_given_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher_module, "_WRITE_AGAIN_SECONDS", (0.0,))
    async with dispatching(tmp_path, lambda _, result: result is not None) as (
        dispatcher, store, approval,
    ):  # fmt: skip
        assert (await dispatcher.dispatch(approval.id, "", Carrier())).result == RESULT
        on_disk = await store.find(approval.id)
        assert on_disk is not None
        assert (on_disk.state, on_disk.result) == (State.DONE, None)


@pytest.mark.parametrize("step", [Transition.FINISH, Transition.NOT_SENT])
@run
async def test_an_end_that_cannot_be_written_is_never_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: Transition
) -> None:
    monkeypatch.setattr(dispatcher_module, "_WRITE_AGAIN_SECONDS", (0.0,))
    fails = UpstreamError("no connection", sent=False) if step is Transition.NOT_SENT else None
    async with dispatching(tmp_path, lambda one, _: one is step) as (
        dispatcher, store, approval,
    ):  # fmt: skip
        ended = (await dispatcher.dispatch(approval.id, "", Carrier(fails=fails))).approval
        # The disk says that it is being sent, so after a restart it is unknown.
        assert ended.state is (State.UNKNOWN if step is Transition.NOT_SENT else State.DONE)
        on_disk = await store.find(approval.id)
        assert on_disk is not None
        assert on_disk.state is State.SENDING


@run
async def test_a_rejection_that_is_written_first_wins_over_the_sending(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval, carrier = await w.approved(), Carrier()
        saying = asyncio.create_task(w.page.say(approval.id, VoteValue.REJECT, "bob"))
        sending = asyncio.create_task(w.dispatch(approval.id, "", carrier))
        assert (await saying).state is State.REJECTED
        assert (await sending).approval.state is State.REJECTED
        assert carrier.permits == []
