"""The file of approvals: private, small, and refused in words where it cannot be used."""

import asyncio
import multiprocessing
import os
import sqlite3
import stat
import subprocess
import sys
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.harness.approval_service import a_call
from tests.harness.wait import run
from thoughtgate_proxy.approvals.store.errors import StoreUnavailable
from thoughtgate_proxy.approvals.store.schema import MOST_BYTES, NAME, VERSION
from thoughtgate_proxy.approvals.store.sqlite import Store, StoreFile
from thoughtgate_proxy.core.approval import (
    KEPT_SECONDS,
    TRANSITIONS,
    Approval,
    Asked,
    Ending,
    NoSuchTransition,
    State,
    Transition,
    Vote,
    VoteValue,
)

KEY = b"k" * 32
ASKED = Asked(
    "default", "slack", "it must", "rules", 3, "delete_*", ("p",), "c0", "Deletes.",
    "agents", "pod", "c1", "00-1",
)  # fmt: skip


def an_approval(id: str = "tg_1", **fields: object) -> Approval:
    call = replace(a_call(user="ada"), headers=(("mcp-method", "tools/call"),), credential="0f")
    return replace(Approval(id, call, ASKED, 1000.0, 1060.0, 2), **fields)  # type: ignore[arg-type]  # a test's fields


def _files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def opened(folder: Path, now: float = 1000.0) -> tuple[Store, StoreFile]:
    store = Store(folder)
    return store, await store.open(KEY, now)


@run
async def test_what_was_written_is_read_back_as_it_was(tmp_path: Path) -> None:
    store, found = await opened(tmp_path / "new" / "folder")
    assert (found.approvals, found.key, found.damaged) == ([], KEY, None)
    vote = Vote("U1", "Ada \u202e", VoteValue.APPROVE, 1001.5, "fine")
    await store.add(an_approval())
    noted = await store.note(
        an_approval(), vote=vote, message_ref="C1:17.2", notified=State.PENDING
    )
    second = Vote("U2", "Bob", VoteValue.APPROVE, 1002.0)
    approved = await store.step(
        noted, Transition.APPROVE, vote=second, decided=2.0, valid_until=3.0
    )
    await store.close()
    again = Store(tmp_path / "new" / "folder")
    back = await again.open(b"another", 1000.0)
    assert back.key == KEY
    assert list(back.approvals) == [approved]
    assert approved.approvers == ("Ada \u202e", "Bob")
    sending = await again.step(approved, Transition.SEND)
    done = await again.step(sending, Transition.FINISH, result=b"{}", ending=Ending.DONE, ended=5.0)
    assert await again.find("tg_1") == replace(done, result=b"{}")
    assert await again.find("tg_2") is None
    await again.close()


@run
async def test_every_step_is_compared_and_set(tmp_path: Path) -> None:
    store, _ = await opened(tmp_path)
    for state in State:
        for step in Transition:
            one = an_approval(f"tg_{state}_{step}", state=state)
            await store.add(one)
            if (state, step) in TRANSITIONS:
                assert (await store.step(one, step)).state is TRANSITIONS[state, step]
            with pytest.raises(NoSuchTransition):
                await store.step(one, step)
    await store.close()


@run
async def test_of_two_that_saw_the_same_state_one_wins(tmp_path: Path) -> None:
    store, _ = await opened(tmp_path)
    one = an_approval(state=State.APPROVED)
    await store.add(one)
    steps = [
        store.step(one, step)
        for step in (Transition.SEND, Transition.REJECT, Transition.SEND, Transition.EXPIRE)
    ]
    outcomes = await asyncio.gather(*steps, return_exceptions=True)
    assert sum(isinstance(outcome, Approval) for outcome in outcomes) == 1
    await store.close()


@run
async def test_nobody_else_can_read_the_files(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        store, _ = await opened(tmp_path / "mine")
        await store.add(an_approval())
    finally:
        os.umask(before)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "mine").iterdir()}
    assert modes == {NAME: 0o600, f"{NAME}-wal": 0o600}
    assert stat.S_IMODE((tmp_path / "mine").stat().st_mode) == 0o700
    await store.close()


@run
async def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    store, _ = await opened(tmp_path)
    await store.add(an_approval())
    await store.close()
    with sqlite3.connect(tmp_path / NAME) as db:
        db.execute(f"PRAGMA user_version = {VERSION + 1}")
    db.close()
    newer = Store(tmp_path)
    with pytest.raises(StoreUnavailable, match=r"newer version .*its schema is 3, .*knows 2"):
        await newer.open(KEY, 0.0)
    with sqlite3.connect(tmp_path / NAME) as db:
        db.execute(f"PRAGMA user_version = {VERSION}")
    db.close()
    assert len((await newer.open(KEY, 1000.0)).approvals) == 1
    await newer.close()


@run
async def test_a_file_of_an_older_version_is_moved_aside(tmp_path: Path) -> None:
    store, _ = await opened(tmp_path)
    await store.add(an_approval())
    await store.close()
    with sqlite3.connect(tmp_path / NAME) as db:
        db.execute(f"PRAGMA user_version = {VERSION - 1}")
    db.close()
    newer = Store(tmp_path)
    found = await newer.open(KEY, 0.0)
    assert (found.approvals, found.damaged) == ([], tmp_path / f"{NAME}.damaged")
    await newer.close()


@run
async def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / NAME) as db:
        db.execute("CREATE TABLE theirs (x)")
    db.close()
    with pytest.raises(StoreUnavailable, match="another program's"):
        await Store(tmp_path).open(KEY, 0.0)


@run
async def test_what_this_version_cannot_read_is_left_alone(tmp_path: Path) -> None:
    store, _ = await opened(tmp_path)
    await store.add(an_approval())
    await store.close()
    with sqlite3.connect(tmp_path / NAME) as db:
        db.execute("UPDATE approval SET state = 'pondered'")
    db.close()
    other = Store(tmp_path)
    for _ in range(2):
        with pytest.raises(StoreUnavailable, match=r"cannot read .*pondered"):
            await other.open(KEY, 0.0)
    await other.close()


@pytest.mark.parametrize("damage", ["not a database", "a page", "its end"])
@run
async def test_a_damaged_file_is_moved_aside_and_named(tmp_path: Path, damage: str) -> None:
    store, _ = await opened(tmp_path)
    for n in range(20):
        await store.add(an_approval(f"tg_{n}"))
    await store.close()
    path = tmp_path / NAME
    whole = path.read_bytes()
    broken = {
        "not a database": b"x" * 5000,
        "a page": whole[:4096] + b"\xff" * 4096 + whole[8192:],
        "its end": whole[: len(whole) // 2 // 4096 * 4096],
    }[damage]
    path.write_bytes(broken)
    (tmp_path / f"{NAME}.damaged").write_bytes(b"an earlier one")
    new, found = await opened(tmp_path)
    assert (found.approvals, found.damaged) == ([], tmp_path / f"{NAME}.damaged")
    assert (tmp_path / f"{NAME}.damaged").read_bytes() == broken
    await new.add(an_approval())
    await new.close()


def _hold(folder: str, pipe: Connection) -> None:
    async def hold() -> None:
        store, _ = await opened(Path(folder))
        await store.add(an_approval())
        pipe.send("held")
        pipe.recv()

    asyncio.run(hold())


@run
async def test_two_processes_cannot_have_one_file(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    other = context.Process(target=_hold, args=(str(tmp_path), theirs))
    other.start()
    try:
        assert await asyncio.to_thread(ours.poll, 30)
        second = Store(tmp_path)
        with pytest.raises(StoreUnavailable, match="another process has it"):
            await second.open(KEY, 0.0)
        other.kill()
        await asyncio.to_thread(other.join, 10)
        assert len((await second.open(KEY, 1000.0)).approvals) == 1, "freed by its end"
        await second.close()
    finally:
        other.kill()
        other.join()
        ours.close()
        theirs.close()
        other.close()


@run
async def test_it_keeps_to_its_share_of_the_volume(tmp_path: Path) -> None:
    store, _ = await opened(tmp_path)
    big = replace(an_approval().call, body=b"x" * (1 << 20))
    for number in range(42):
        await store.add(an_approval(f"tg_{number}", call=big))
    with pytest.raises(StoreUnavailable, match="full"):
        await asyncio.gather(*(store.add(an_approval(f"tg_more_{n}", call=big)) for n in range(4)))
    # What is there already can still go on, and say why.
    one = an_approval("tg_0", call=big)
    one = await store.step(
        one, Transition.APPROVE, vote=Vote("a", "b", VoteValue.APPROVE, 1, "r" * 9999)
    )
    one = await store.step(one, Transition.SEND)
    one = await store.step(one, Transition.FINISH, result=b"y" * (1 << 20), ended=1000.0)
    found = await store.find("tg_0")
    assert found is not None
    assert (found.state, found.result) == (State.DONE, None), "no room for it"
    # What nobody waits for makes room before its time.
    await store.note(one, delivered=True)
    await store.add(an_approval("tg_new", call=big))
    assert await store.find("tg_0") is None
    await store.close()
    assert sum(file.stat().st_size for file in _files(tmp_path)) <= MOST_BYTES + (5 << 20)


@run
async def test_a_result_that_is_too_long_is_not_kept(tmp_path: Path) -> None:
    store, _ = await opened(tmp_path)
    for size, kept in (((1 << 20), True), ((1 << 20) + 1, False)):
        one = an_approval(f"tg_{size}", state=State.SENDING)
        await store.add(one)
        await store.step(one, Transition.FINISH, result=b"y" * size)
        found = await store.find(one.id)
        assert found is not None
        assert (found.state, found.result is not None) == (State.DONE, kept)
    await store.close()


@run
async def test_arguments_and_results_are_forgotten_to_the_last_byte(tmp_path: Path) -> None:
    store, _ = await opened(tmp_path)
    secret = replace(an_approval().call, body=b"the secret argument " * 500)
    await store.add(an_approval("tg_old", call=secret, state=State.SENDING))
    await store.add(an_approval("tg_live", expires=9e9))
    old = an_approval("tg_old", call=secret, state=State.SENDING)
    await store.step(old, Transition.FINISH, result=b"the secret result " * 500, ended=2000.0)
    await store.spend("nonce", 2000.0)
    await store.forget(2000.0 + KEPT_SECONDS - 1)
    assert await store.find("tg_old") is not None
    await store.forget(2000.0 + KEPT_SECONDS + 1)
    assert await store.find("tg_old") is None
    assert await store.find("tg_live") is not None
    assert [f.name for f in _files(tmp_path) if b"the secret" in f.read_bytes()] == []
    await store.close()


@given(st.lists(st.sampled_from(list(Transition)), max_size=8))
@settings(max_examples=30)
def test_memory_and_disk_agree_after_any_steps(steps: list[Transition]) -> None:
    @run
    async def check() -> None:
        import tempfile  # noqa: PLC0415  hypothesis has no folder for each example

        with tempfile.TemporaryDirectory() as folder:
            store, _ = await opened(Path(folder))
            one = an_approval()
            await store.add(one)
            for step in steps:
                try:
                    one = await store.step(one, step)
                except NoSuchTransition:
                    assert (one.state, step) not in TRANSITIONS
                assert await store.find("tg_1") == one
            await store.close()

    check()


def test_a_proxy_without_a_workflow_has_no_database_in_memory() -> None:
    code = (
        "import sys, thoughtgate_proxy.app.process; "
        "sys.exit('sqlite3' in sys.modules or 'slack_sdk' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
