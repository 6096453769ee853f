"""The file of approvals: opened with care, or refused in words.

It holds arguments of calls, results and the key that signs `requestState`: so its mode is 0600 and
what is deleted is overwritten. Its size has a limit, since a full emptyDir evicts the pod.
"""

import contextlib
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from thoughtgate_proxy.approvals.store.errors import StoreUnavailable

NAME: Final = "approvals.sqlite3"
VERSION: Final = 2
_APPLICATION: Final = 0x54474130  # "TGA0"
_PAGE = 4096
MOST_BYTES: Final = 48 << 20
_JOURNAL_BYTES = 4 << 20
# Whoever restarts us may be a moment ahead of the end of the last process.
_BUSY_SECONDS = 2.0
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

_SCHEMA = """
CREATE TABLE approval (
    id TEXT PRIMARY KEY, state TEXT NOT NULL, call TEXT NOT NULL, asked TEXT NOT NULL,
    opened REAL NOT NULL, expires REAL NOT NULL, required INTEGER NOT NULL,
    decided REAL, valid_until REAL, ended REAL, ending TEXT, reason TEXT NOT NULL,
    message_ref TEXT, notified TEXT, caller_left INTEGER NOT NULL, delivered INTEGER NOT NULL
) WITHOUT ROWID, STRICT;
-- In tables of their own, as a change of a row writes all of it.
CREATE TABLE body (id TEXT PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
CREATE TABLE result (id TEXT PRIMARY KEY, bytes BLOB NOT NULL) STRICT;
CREATE TABLE vote (
    id TEXT NOT NULL, approver TEXT NOT NULL, name TEXT NOT NULL, verdict TEXT NOT NULL,
    at REAL NOT NULL, reason TEXT NOT NULL, PRIMARY KEY (id, approver)
) STRICT;
CREATE TABLE opening (workflow TEXT NOT NULL, at REAL NOT NULL) STRICT;
CREATE TABLE nonce (nonce TEXT PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE secret (name TEXT PRIMARY KEY, bytes BLOB NOT NULL) WITHOUT ROWID, STRICT;
"""


class _Damaged(Exception):
    pass


@dataclass(frozen=True, slots=True)
class Opened:
    """`moved` is where a damaged file went, whose approvals are lost to us."""

    connection: sqlite3.Connection
    moved: Path | None


def opened(folder: Path, key: bytes) -> Opened:
    """Open the file in `folder`, or make it, with `key` as its secret. Raises `StoreUnavailable`.

    Nobody else can open it until the connection is closed, or its process ended. A damaged file is
    moved aside, in place of one that was there.
    """
    path = folder / NAME
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(_Damaged):
            return Opened(_connect(path, key), None)
        aside = _moved(path)
        return Opened(_connect(path, key, taken=_size(aside)), aside)
    except (OSError, sqlite3.Error, _Damaged) as error:
        raise StoreUnavailable(f"`{path}`: {words(error)}") from error


def words(error: Exception) -> str:
    """An error of SQLite's or the system's in one line."""
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return "another process has it; each needs a THOUGHTGATE_STATE_DIR of its own"
        case sqlite3.SQLITE_FULL:
            return "the disk, or the store's share of it, is full"
        case sqlite3.SQLITE_READONLY:
            return "it cannot be written"
    return (error.strerror or str(error)) if isinstance(error, OSError) else str(error)


def _connect(path: Path, key: bytes, taken: int = 0) -> sqlite3.Connection:
    # Made here so that it never has another mode; SQLite gives the same one to its journal.
    # Closed before SQLite opens it: closing would drop this process' locks (POSIX).
    with contextlib.closing(_Descriptor(path)) as file:
        os.fchmod(file.number, 0o600)
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
    try:
        _set_up(connection, key, MOST_BYTES - min(taken, MOST_BYTES // 2))
    except sqlite3.Error as error:
        connection.close()
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
            raise _Damaged(str(error)) from error
        raise
    except BaseException:
        connection.close()
        raise
    return connection


class _Descriptor:
    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

    def close(self) -> None:
        os.close(self.number)


def _set_up(connection: sqlite3.Connection, key: bytes, most: int) -> None:
    run = connection.execute
    run("PRAGMA locking_mode = EXCLUSIVE")
    run("PRAGMA journal_mode = WAL")
    run("PRAGMA synchronous = NORMAL")  # enough for kill -9; an emptyDir does not outlive its node
    run(f"PRAGMA journal_size_limit = {_JOURNAL_BYTES}")
    run("PRAGMA wal_autocheckpoint = 256")
    run("PRAGMA temp_store = MEMORY")
    run("PRAGMA cache_size = -256")  # KiB: what is open is in memory as it is
    run("PRAGMA secure_delete = ON")
    run("PRAGMA cell_size_check = ON")
    run(f"PRAGMA max_page_count = {most // _PAGE}")
    run("BEGIN IMMEDIATE")
    version = run("PRAGMA user_version").fetchone()[0]
    application = run("PRAGMA application_id").fetchone()[0]
    tables = run("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    if tables and application != _APPLICATION:
        raise StoreUnavailable("the file of approvals is another program's database")
    if version > VERSION:
        raise StoreUnavailable(
            f"the file of approvals was written by a newer version of ThoughtGate (its schema is "
            f"{version}, this version knows {VERSION}): go back to that version, or move it away"
        )
    if tables and version < VERSION:
        raise _Damaged("it has an older schema")
    if not tables:
        for statement in _SCHEMA.split(";\n"):
            run(statement)
        run("INSERT INTO secret VALUES ('state', ?)", (key,))
        run(f"PRAGMA application_id = {_APPLICATION}")
        run(f"PRAGMA user_version = {VERSION}")
    elif (found := run("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
        raise _Damaged(found)
    run("COMMIT")


def _moved(path: Path) -> Path:
    """Move the file and its journal aside; their arguments were private there too."""
    aside = path.with_name(f"{path.name}.damaged")
    for end in ("-wal", "-shm", ""):
        source, target = (p.with_name(p.name + end) for p in (path, aside))
        target.unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            source.rename(target)
    return aside


def _size(aside: Path) -> int:
    return sum(file.stat().st_size for file in aside.parent.glob(f"{aside.name}*"))
