"""One trial: a life that is cut short, a look at what it left, and lives until all is told."""

import multiprocessing
import random
import shutil
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Protocol

from tests.harness.kill import life
from tests.harness.kill.life import CALLS
from tests.harness.kill.outside import Outside
from thoughtgate_proxy.approvals.store.schema import NAME

_LIMIT = 60.0
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload([life.__name__])


class Process(Protocol):
    """A life under way."""

    @property
    def exitcode(self) -> int | None: ...

    def join(self, limit: float | None = None) -> None: ...

    def kill(self) -> None: ...

    def is_alive(self) -> bool: ...

    def close(self) -> None: ...


Begin = Callable[[Path, Path, list[str]], Process]
"""Starts a life that is to be cut short: its folder, the socket, its calls."""


@dataclass
class Tally:
    """What came of many trials."""

    killed: int = 0
    survived: int = 0
    """Lives that had ended before their death came."""
    left: dict[str, int] = field(default_factory=dict)
    """In which states approvals stood on disk when their process died."""
    ended: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return (
            f"{self.killed} killed, {self.survived} had ended before; on disk at death: "
            f"{self.left}; told to the agent: {self.ended}"
        )


def begun(folder: Path, socket: Path, calls: list[str], end_at: int | None) -> BaseProcess:
    """A life in a process of its own."""
    process = _FORKS.Process(target=life.live, args=(str(folder), str(socket), calls, end_at))
    process.start()
    return process


def instructions(folder: Path) -> int:
    """How many instructions of the package a life takes that nobody cuts short."""
    with Outside(folder / "socket") as outside, multiprocessing.Pool(1) as pool:
        count = pool.apply(life.live, (str(folder / "state"), str(outside.path), CALLS, 0))
    return int(count)


def trial(folder: Path, begin: Begin, tally: Tally, deaths: int = 1) -> None:
    """Die `deaths` times, then live on; fails if anything was lost, or done or asked twice."""
    folder.mkdir()
    state = folder / "state"
    with Outside(folder / "socket") as outside:
        for _ in range(deaths):
            died = _ended(begin(state, outside.path, _open(outside)))
            tally.killed += died
            tally.survived += not died
            _check_disk(folder, outside, tally)
        for _ in range(3):
            if not _open(outside):
                break
            assert not _ended(begun(state, outside.path, _open(outside), None)), "it died by itself"
        for call in CALLS:
            ended = outside.ended[call]
            tally.ended[ended] = tally.ended.get(ended, 0) + 1
            assert outside.messages[call] == 1, f"humans were asked {outside.messages} times"
            if call == "delete_never":
                assert (ended, outside.sent[call]) == ("rejected", 0)
            elif ended == "done":
                assert outside.sent[call] == 1
            else:
                assert (ended, outside.sent[call] <= 1) == ("unknown", True)
    shutil.rmtree(folder)


def seconds(folder: Path) -> float:
    """How long a life takes, the longest of a few, as others use the machine too."""
    return max(_seconds(folder / f"life {number}") for number in range(5))


def _seconds(folder: Path) -> float:
    folder.mkdir()
    with Outside(folder / "socket") as outside:
        process = begun(folder / "state", outside.path, list(CALLS), None)
        start = time.perf_counter()
        assert not _ended(process)
        return time.perf_counter() - start


def after(wait: float) -> Begin:
    """Killed from outside, so many seconds after it was begun."""

    def begin(folder: Path, socket: Path, calls: list[str]) -> BaseProcess:
        process = begun(folder, socket, calls, None)
        time.sleep(wait)
        process.kill()
        return process

    return begin


def at(instruction: int) -> Begin:
    """Killed by itself, at that instruction of the package."""
    return lambda folder, socket, calls: begun(folder, socket, calls, instruction)


def chosen(total: int, count: int, seed: int) -> list[int]:
    """Instructions to die at: one from each of `count` equal parts of the life."""
    die = random.Random(seed)  # noqa: S311  a choice that can be made again
    return [int((n + die.random()) * total / count) + 1 for n in range(count)]


def _open(outside: Outside) -> list[str]:
    return [call for call in CALLS if call not in outside.ended]


def _ended(process: Process) -> bool:
    """Whether it was killed; fails if it ended in any other way than well."""
    process.join(_LIMIT)
    try:
        assert process.exitcode in (0, -9), f"it ended with {process.exitcode}"
        return process.exitcode == -9
    finally:
        process.kill()
        process.join()
        process.close()


def _check_disk(folder: Path, outside: Outside, tally: Tally) -> None:
    """What the world saw must be on disk already; read from a copy, so that nothing is changed."""
    copy = folder / "copy"
    copy.mkdir()
    for end in ("", "-wal"):
        file = folder / "state" / f"{NAME}{end}"
        if file.exists():
            shutil.copy(file, copy / file.name)
    db = sqlite3.connect(copy / NAME)
    try:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema")}
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        rows = db.execute("SELECT id, state, call FROM approval").fetchall() if tables else []
        votes = set(db.execute("SELECT id, approver FROM vote")) if tables else set()
    finally:
        db.close()
    shutil.rmtree(copy)
    states = {id: state for id, state, _ in rows}
    for state in states.values():
        tally.left[state] = tally.left.get(state, 0) + 1
    assert set(outside.asked) <= set(states), "humans were told of what is not on disk"
    assert outside.voted <= votes, "a vote was taken that is not on disk"
    for id, call in outside.asked.items():
        if outside.sent[call]:
            assert states[id] in ("sending", "done", "unknown"), "sent, and the disk does not know"
