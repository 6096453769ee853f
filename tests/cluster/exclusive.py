"""One cluster at a time: its bridge, addresses and ports are the machine's.

The lock's file names the run that holds it. Whoever gets the lock and finds a name there knows
that that run crashed, and removes its traces first.
"""

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tests.cluster import traces
from tests.cluster.commands import ClusterUnavailableError
from tests.cluster.run import LONGEST_PARENT, Run

LOCK = Path("/run/lock/thoughtgate-cluster")
LIMIT = 300.0  # seconds to wait for another cluster's end

Say = Callable[[str], None]


@contextmanager
def new_run(say: Say, limit: float = LIMIT) -> Iterator[Run]:
    """A run with an empty folder, alone on this machine; at the end its traces are removed."""
    with alone(say, limit) as lock:
        parent = tempfile.gettempdir()
        if len(parent) > LONGEST_PARENT:
            parent = "/tmp"
        folder = Path(tempfile.mkdtemp(prefix="thoughtgate-cluster-", dir=parent))
        _write(lock, f"{os.getpid()}\n{folder}\n")
        the_run = Run(folder)
        try:
            traces.begin(folder)
            yield the_run
        finally:
            traces.remove(folder)
            _write(lock, "")


@contextmanager
def alone(say: Say, limit: float = LIMIT) -> Iterator[IO[str]]:
    """While no cluster runs here; what a crashed run left has been removed."""
    with _locked(say, limit) as lock:
        lock.seek(0)
        _, _, name = lock.read().strip().partition("\n")
        if name:
            say(f"removing what a crashed run left ({name})")
            traces.remove(Path(name))
            _write(lock, "")
        yield lock


@contextmanager
def _locked(say: Say, limit: float) -> Iterator[IO[str]]:
    deadline = time.monotonic() + limit
    said = False
    while True:
        with _opened() as file:
            if _try_lock(file):
                try:
                    yield file
                finally:
                    file.seek(0)
                    if not file.read():
                        LOCK.unlink(missing_ok=True)
                return
            holder = file.read().partition("\n")[0] or "unknown"
        if time.monotonic() > deadline:
            raise ClusterUnavailableError(
                f"another cluster (of process {holder}) did not end within {limit:.0f} s"
            )
        if not said:
            say(f"waiting up to {limit:.0f} s for another cluster's end (of process {holder})")
            said = True
        time.sleep(0.5)


def _opened() -> IO[str]:
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    return os.fdopen(os.open(LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+")


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    # The holder before us removes the file at its end: then ours is the lock of nothing.
    try:
        return LOCK.stat().st_ino == os.fstat(file.fileno()).st_ino
    except FileNotFoundError:
        return False


def _write(lock: IO[str], text: str) -> None:
    lock.seek(0)
    lock.truncate()
    lock.write(text)
    lock.flush()
