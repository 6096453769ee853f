"""What is kept in memory of approvals, what the same call joins, and for how long."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from tests.harness.approval_service import a_call, world
from tests.harness.clock import ManualClock
from tests.harness.wait import run
from tests.proxy.approvals.store.test_sqlite import ASKED
from thoughtgate_proxy.approvals.audit import AuditLog
from thoughtgate_proxy.approvals.registry import ApprovalRegistry
from thoughtgate_proxy.approvals.store.sqlite import Store
from thoughtgate_proxy.core.approval import KEPT_SECONDS, Approval, State
from thoughtgate_proxy.core.config.values import Workflow

AT = 1_000_000.0

FLOW = Workflow(adapter="page", valid_for=1200.0, deny_for=90.0)


@asynccontextmanager
async def a_registry(
    folder: Path, *approvals: Approval
) -> AsyncIterator[tuple[ApprovalRegistry, ManualClock]]:
    """One with `approvals`, at the time `AT`."""
    async with world(folder, ManualClock(AT)) as w:
        registry = ApprovalRegistry(Store(folder), w.clock, AuditLog(w.record), os.urandom)
        for approval in approvals:
            registry._put(approval)
        yield registry, w.clock


def ended(number: int, at: float, state: State = State.CANCELLED, size: int = 0) -> Approval:
    call = a_call(n=number, x="a" * size)
    return Approval(f"tg_{number}", call, ASKED, at - 1, at + 9, state=state, ended=at)


@run
async def test_of_what_ended_the_newest_fifty_are_kept_to_be_looked_at(tmp_path: Path) -> None:
    old = [ended(n, AT - 1000 + n) for n in range(51)]
    async with a_registry(tmp_path, *old) as (registry, _):
        registry.trim()
        assert [a.id for a in registry.recent()] == [a.id for a in reversed(old[1:])]
        assert {a.id for a in registry.every()} == {a.id for a in old[1:]}


@run
async def test_of_what_ended_two_megabytes_are_kept_to_be_looked_at(tmp_path: Path) -> None:
    old = [ended(n, AT - 1000 + n, size=900_000) for n in range(3)]
    async with a_registry(tmp_path, *old) as (registry, _):
        registry.trim()
        assert [a.id for a in registry.recent()] == ["tg_2", "tg_1"]


@pytest.mark.parametrize("state", [State.DONE, State.UNKNOWN])
@run
async def test_what_its_caller_has_not_heard_is_kept_without_its_arguments(
    tmp_path: Path, state: State
) -> None:
    waiting, heard = (ended(n, AT - 1000, state, size=3_000_000) for n in (1, 2))
    async with a_registry(tmp_path, waiting, replace(heard, delivered=True)) as (registry, clock):
        registry.trim()
        (kept,) = registry.every()
        assert (kept.id, kept.call.body) == (waiting.id, b"")
        assert registry.of_digest(waiting.call.digest, FLOW) == kept
        assert registry.of_digest(heard.call.digest, FLOW) is None
        clock.time = AT - 1000 + KEPT_SECONDS
        registry.trim()
        assert registry.every() == ()


@run
async def test_a_rejection_is_kept_for_as_long_as_it_is_remembered(tmp_path: Path) -> None:
    rejected = ended(1, AT, State.REJECTED, size=3_000_000)
    async with a_registry(tmp_path, rejected) as (registry, clock):
        clock.time = AT + FLOW.deny_for - 1
        registry.trim()
        assert registry.of_digest(rejected.call.digest, FLOW) is not None
        clock.time = AT + FLOW.deny_for
        assert registry.of_digest(rejected.call.digest, FLOW) is None


@pytest.mark.parametrize(
    ("one", "until"),
    [
        (replace(ended(1, AT), state=State.PENDING, ended=None, expires=AT + 60), 60.0),
        (replace(ended(1, AT), state=State.APPROVED, ended=None, valid_until=AT + 30), 30.0),
        (ended(1, AT, State.DONE), FLOW.valid_for),
        (ended(1, AT, State.UNKNOWN), KEPT_SECONDS),
    ],
    ids=lambda value: value.state.value if isinstance(value, Approval) else "",
)
@run
async def test_the_same_call_joins_what_is_in_time_and_nothing_later(
    tmp_path: Path, one: Approval, until: float
) -> None:
    async with a_registry(tmp_path, one) as (registry, clock):
        clock.time = AT + until - 0.5
        assert registry.of_digest(one.call.digest, FLOW) == one
        clock.time = AT + until
        assert registry.of_digest(one.call.digest, FLOW) is None


@run
async def test_the_same_call_joins_the_newest_even_if_an_older_one_changes(tmp_path: Path) -> None:
    newer = replace(ended(1, AT), id="tg_new", state=State.PENDING, ended=None, expires=AT + 60)
    older = replace(ended(1, AT), opened=newer.opened - 1)
    async with a_registry(tmp_path, older, newer, replace(older, notified=older.state)) as (
        registry,
        _,
    ):
        assert registry.of_digest(newer.call.digest, FLOW) == newer
