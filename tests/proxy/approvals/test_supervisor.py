"""What time alone does to approvals, and what an earlier process left."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from tests.harness import approval_service
from tests.harness.approval_service import Carrier, a_call, world
from tests.harness.wait import run, soon, within
from thoughtgate_proxy.approvals import registry
from thoughtgate_proxy.approvals.store import schema
from thoughtgate_proxy.approvals.store.errors import StoreUnavailable
from thoughtgate_proxy.approvals.store.schema import NAME
from thoughtgate_proxy.approvals.store.sqlite import Store
from thoughtgate_proxy.core.approval import Approval, Ending, NoSuchTransition, State, VoteValue


@run
async def test_nobody_deciding_in_time_denies(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        opened = await w.open()
        await w.asked()
        waiting = asyncio.create_task(w.service.settled(opened.id, 1000))
        await within(lambda: len(w.clock.alarms) >= 2, "the timers")
        w.clock.move(60)
        ended = await soon(waiting, "the end")
        assert (ended.state, ended.ending) == (State.EXPIRED, Ending.TIMED_OUT)
        with pytest.raises(NoSuchTransition):
            await w.page.say(opened.id, VoteValue.APPROVE)


@run
async def test_an_approval_that_is_not_used_in_time_expires(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval = await w.approved()
        assert approval.valid_until == w.clock.time + 30
        w.clock.time += 30  # the timer has not rung yet
        carrier = Carrier()
        outcome = await w.dispatch(approval.id, "", carrier)
        assert (outcome.approval.state, outcome.approval.ending) == (
            State.EXPIRED, Ending.NOT_USED,
        )  # fmt: skip
        assert not carrier.permits


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
        outcome = await w.dispatch(approval.id, "", carrier)
        assert (outcome.approval.state, carrier.permits) == (State.UNKNOWN, [])
        assert "cut off" in outcome.approval.reason


@run
async def test_a_file_that_can_be_opened_late_is_taken_up_then_and_nobody_is_asked_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "_BUSY_SECONDS", 0.0)
    monkeypatch.setattr(registry, "_STORE_AGAIN_SECONDS", 0.0)
    async with world(tmp_path) as w:
        earlier = await w.open()
        await w.asked()
        await w.stop()
        other = Store(tmp_path)
        await other.open(b"k" * 32, 0.0)
        await w.start()
        assert "another process has it" in str(w.service.trouble)
        await other.close()
        later = await w.open(a_call(n=2))
        await w.asked()
        await w.page.say(earlier.id, VoteValue.APPROVE)
        await within(lambda: w.page.told, "the humans of the earlier one")
        assert [told.id for told in w.page.told] == [earlier.id]
        assert [asked.id for asked in w.page.asked] == [later.id]
