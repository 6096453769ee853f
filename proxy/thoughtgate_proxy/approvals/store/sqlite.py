"""Approvals on disk: each change is there before it counts.

One thread owns the file, and does one thing at a time. Every transition is a compare-and-set
against the state that the caller saw, and against `core.approval.TRANSITIONS`.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from thoughtgate_proxy.approvals.store import schema
from thoughtgate_proxy.approvals.store.errors import StoreUnavailable
from thoughtgate_proxy.approvals.store.schema import MOST_BYTES, words
from thoughtgate_proxy.core.approval import (
    KEPT_SECONDS,
    Approval,
    Asked,
    Call,
    Ending,
    NoSuchTransition,
    State,
    Transition,
    Vote,
    VoteValue,
    after,
)

MOST_RESULT: Final = 1 << 20
"""The longest result that is kept, in bytes."""
# For the steps of what is there already; whatever is new must leave it free.
_RESERVE = 4 << 20
_LONGEST_LIMIT_SECONDS = 86_400.0
_PLAIN: Final = (
    "opened", "expires", "required", "decided", "valid_until", "ended", "ending", "reason",
    "message_ref", "notified", "caller_left", "delivered",
)  # fmt: skip
_COLUMNS: Final = ("id", "state", "call", "asked", *_PLAIN)
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class StoreFile:
    """What the file held when it was opened: `approvals` without results, oldest first."""

    approvals: Sequence[Approval]
    key: bytes
    damaged: Path | None
    """Where the file before was moved, as it was damaged: its approvals are lost."""


class Store:
    """The approvals of one process, in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._thread = ThreadPoolExecutor(1, "approvals-store")
        self._connection: sqlite3.Connection | None = None

    async def open(self, new_key: bytes, now: float) -> StoreFile:
        """Open the file, `new_key` being the key of a new one. Raises `StoreUnavailable`."""
        return await self._in_thread(lambda: self._open(new_key, now))

    async def close(self) -> None:
        """Close the file; what was begun is finished first."""
        await self._in_thread(self._close)
        self._thread.shutdown(wait=False)

    async def add(self, approval: Approval) -> None:
        """Write a new one down. Raises `StoreUnavailable`."""
        await self._in_thread(lambda: self._add(approval))

    async def step(
        self,
        approval: Approval,
        step: Transition,
        *,
        vote: Vote | None = None,
        result: bytes | None = None,
        **changes: Any,
    ) -> Approval:
        """Take `approval` one step on, with other `changes` of its fields; gives what it is then.

        A `result` longer than `MOST_RESULT`, or for which there is no room, is not kept. Raises
        `NoSuchTransition` if the approval is not in the state that `approval` has, or that state
        knows no such step, and `StoreUnavailable`; then nothing has changed.
        """
        new = replace(approval, state=after(approval.state, step), **changes)
        if vote is not None:
            new = new.voted(vote)
        await self._in_thread(lambda: self._change(approval, new, vote, result))
        return new

    async def note(
        self, approval: Approval, *, vote: Vote | None = None, **changes: Any
    ) -> Approval:
        """Change what is no state. Raises as `step` does."""
        new = replace(approval, **changes)
        if vote is not None:
            new = new.voted(vote)
        await self._in_thread(lambda: self._change(approval, new, vote, None))
        return new

    async def find(self, id: str) -> Approval | None:
        """One approval, with its result. Raises `StoreUnavailable`."""
        return await self._in_thread(lambda: self._find(id))

    async def opening(self, workflow: str, number: int) -> float | None:
        """When the `number`-th last approval of `workflow` was opened; 1 is the newest."""
        return await self._in_thread(lambda: self._opening(workflow, number))

    async def spend(self, nonce: str, until: float) -> bool:
        """Whether `nonce` is used for the first time; remembered until `until`."""
        return await self._in_thread(lambda: self._spend(nonce, until))

    async def forget(self, now: float) -> None:
        """Delete, and overwrite, what need not be kept any longer."""
        await self._in_thread(lambda: self._forget(now))

    # In the thread

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        def careful() -> _T:
            try:
                return work()
            except sqlite3.Error as error:
                raise StoreUnavailable(f"the store of approvals: {words(error)}") from error

        return await asyncio.get_running_loop().run_in_executor(self._thread, careful)

    def _open(self, new_key: bytes, now: float) -> StoreFile:
        opened = schema.opened(self._folder, new_key)
        self._connection = opened.connection
        try:
            with suppress(sqlite3.OperationalError):  # a full disk is met where it matters
                self._forget(now)
            run = opened.connection.execute
            key: bytes = run("SELECT bytes FROM secret WHERE name = 'state'").fetchone()[0]
            rows = run(f"{_SELECT} ORDER BY opened").fetchall()
            return StoreFile([self._approval(row) for row in rows], key, opened.moved)
        except (TypeError, ValueError, msgspec.MsgspecError) as error:
            reason = f"the file of approvals holds what this version cannot read ({error})"
            self._close()
            raise StoreUnavailable(reason) from error
        except BaseException:
            self._close()  # or nobody could open it again
            raise

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    @property
    def _db(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreUnavailable("the store of approvals is not open")
        return self._connection

    @contextmanager
    def _transaction(self) -> Iterator[Callable[..., sqlite3.Cursor]]:
        db = self._db
        db.execute("BEGIN IMMEDIATE")
        try:
            yield db.execute
            db.execute("COMMIT")
        except BaseException:
            # A full disk may have ended the transaction already.
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _add(self, approval: Approval) -> None:
        if not self._room(len(approval.call.body)):
            raise StoreUnavailable("the store of approvals is full")
        with self._transaction() as run:
            run(_INSERT, _row(approval))
            run("INSERT INTO body VALUES (?, ?)", (approval.id, approval.call.body))
            run("INSERT INTO opening VALUES (?, ?)", (approval.asked.workflow, approval.opened))

    def _change(
        self, old: Approval, new: Approval, vote: Vote | None, result: bytes | None
    ) -> None:
        keep = result is not None and len(result) <= MOST_RESULT and self._room(len(result))
        values = (new.state, *_plain(new), old.id, old.state)
        with self._transaction() as run:
            if run(_UPDATE, values).rowcount != 1:
                raise NoSuchTransition(f"the approval `{old.id}` is not `{old.state}` any more")
            if vote is not None:
                run("DELETE FROM vote WHERE id = ? AND approver = ?", (old.id, vote.approver))
                run(
                    "INSERT INTO vote VALUES (?, ?, ?, ?, ?, ?)",
                    (old.id, vote.approver, vote.name, vote.verdict, vote.at, vote.reason),
                )
            if keep:
                run("INSERT INTO result VALUES (?, ?)", (old.id, result))

    def _room(self, size: int) -> bool:
        """Whether so many bytes fit; makes room by forgetting early what nobody waits for."""
        run = self._db.execute
        most = min(MOST_BYTES, run("PRAGMA max_page_count").fetchone()[0] * 4096)
        while True:
            pages, free = (
                run(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "freelist_count")
            )
            if (pages - free) * 4096 + size + _RESERVE <= most:
                return True
            oldest = run(
                "SELECT id FROM approval WHERE ended IS NOT NULL "
                "AND (delivered OR state NOT IN ('done', 'unknown')) ORDER BY ended"
            ).fetchone()
            if oldest is None:
                return False
            with self._transaction() as run_all:
                _drop(run_all, oldest[0])

    def _find(self, id: str) -> Approval | None:
        run = self._db.execute
        row = run(f"{_SELECT} WHERE id = ?", (id,)).fetchone()
        if row is None:
            return None
        result = run("SELECT bytes FROM result WHERE id = ?", (id,)).fetchone()
        return replace(self._approval(row), result=result[0] if result else None)

    def _opening(self, workflow: str, number: int) -> float | None:
        found = self._db.execute(
            "SELECT at FROM opening WHERE workflow = ? ORDER BY at DESC LIMIT 1 OFFSET ?",
            (workflow, number - 1),
        ).fetchone()
        return found[0] if found else None

    def _spend(self, nonce: str, until: float) -> bool:
        with self._transaction() as run:
            return run("INSERT OR IGNORE INTO nonce VALUES (?, ?)", (nonce, until)).rowcount == 1

    def _forget(self, now: float) -> None:
        gone = 0
        with self._transaction() as run:
            ids = run("SELECT id FROM approval WHERE ended < ?", (now - KEPT_SECONDS,)).fetchall()
            for (id,) in ids:
                _drop(run, id)
            gone += len(ids)
            gone += run("DELETE FROM nonce WHERE until < ?", (now,)).rowcount
            run("DELETE FROM opening WHERE at < ?", (now - _LONGEST_LIMIT_SECONDS,))
        if gone:
            # The journal still has what was deleted.
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def _approval(self, row: tuple[Any, ...]) -> Approval:
        found = dict(zip(_COLUMNS, row, strict=True))
        body = self._db.execute("SELECT bytes FROM body WHERE id = ?", (found["id"],)).fetchone()
        votes = self._db.execute(
            "SELECT approver, name, verdict, at, reason FROM vote WHERE id = ? ORDER BY rowid",
            (found["id"],),
        )
        call = {**msgspec.json.decode(found["call"]), "body": b""}
        return Approval(
            **{
                **found,
                "state": State(found["state"]),
                "call": replace(msgspec.convert(call, Call), body=body[0] if body else b""),
                "asked": msgspec.json.decode(found["asked"], type=Asked),
                "ending": None if found["ending"] is None else Ending(found["ending"]),
                "notified": None if found["notified"] is None else State(found["notified"]),
                "caller_left": bool(found["caller_left"]),
                "delivered": bool(found["delivered"]),
                "votes": tuple(
                    Vote(approver, name, VoteValue(verdict), at, reason)
                    for approver, name, verdict, at, reason in votes
                ),
            }
        )


_SELECT: Final = f"SELECT {', '.join(_COLUMNS)} FROM approval"  # noqa: S608  constants
_INSERT: Final = (
    f"INSERT INTO approval ({', '.join(_COLUMNS)}) "  # noqa: S608  constants
    f"VALUES ({', '.join('?' * len(_COLUMNS))})"
)
_UPDATE: Final = (
    f"UPDATE approval SET state = ?, {', '.join(f'{c} = ?' for c in _PLAIN)} "  # noqa: S608  constants
    "WHERE id = ? AND state = ?"
)
_CALL_FIELDS: Final = tuple(field.name for field in fields(Call) if field.name != "body")


def _drop(run: Callable[..., sqlite3.Cursor], id: str) -> None:
    for statement in (
        "DELETE FROM approval WHERE id = ?",
        "DELETE FROM body WHERE id = ?",
        "DELETE FROM result WHERE id = ?",
        "DELETE FROM vote WHERE id = ?",
    ):
        run(statement, (id,))


def _plain(approval: Approval) -> tuple[Any, ...]:
    return tuple(getattr(approval, column) for column in _PLAIN)


def _row(approval: Approval) -> tuple[Any, ...]:
    call = {name: getattr(approval.call, name) for name in _CALL_FIELDS}
    texts = (msgspec.json.encode(value).decode() for value in (call, approval.asked))
    return (approval.id, approval.state, *texts, *_plain(approval))
