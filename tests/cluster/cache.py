"""What is slow to make and depends on known inputs only, kept in the user's cache folder.

INVARIANT: whatever has its final name is complete. It is made under another name, under a lock
(two runs do not both build), and renamed; so a crash leaves nothing that looks finished.
"""

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import mounts

KEPT = 3  # newest entries of one kind; older keys are of sources that have changed since


def folder() -> Path:
    """The project's cache folder, made if absent."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    path = Path(base) / "thoughtgate"
    path.mkdir(parents=True, exist_ok=True)
    return path


def key_of(*parts: str | bytes | Path) -> str:
    """A key of 16 hex digits for texts, files (name and content) and whole folders."""
    digest = hashlib.sha256()
    for part in parts:
        for name, content in _contents(part):
            for piece in (name, content):
                digest.update(len(piece).to_bytes(8, "big") + piece)
    return digest.hexdigest()[:16]


def _contents(part: str | bytes | Path) -> Iterator[tuple[bytes, bytes]]:
    if isinstance(part, bytes | str):
        yield b"", part.encode() if isinstance(part, str) else part
    elif part.is_dir():
        for file in sorted(_files(part)):
            mode = b"x" if os.access(file, os.X_OK) else b"-"
            yield str(file.relative_to(part)).encode() + mode, file.read_bytes()
    else:
        yield part.name.encode(), part.read_bytes()


def _files(path: Path) -> Iterable[Path]:
    for root, folders, names in os.walk(path):
        folders[:] = [name for name in folders if name != "__pycache__"]
        yield from (Path(root) / name for name in names)


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Held by one process at a time; the kernel frees it, however that process ends."""
    with (folder() / f".{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def made(kind: str, key: str, make: Callable[[Path], None]) -> Path:
    """The file of this kind and key, made by `make(where)` if it is not there yet."""
    final = folder() / kind / key
    if final.exists():
        os.utime(final)  # so that the files in use are the newest ones
        return final
    final.parent.mkdir(exist_ok=True)
    with lock(kind):
        if final.exists():
            return final
        for left in final.parent.glob(".making-*"):  # by a run that crashed: we hold the lock
            mounts.remove_tree(left)
        making = Path(tempfile.mkdtemp(prefix=".making-", dir=final.parent))
        try:
            make(making / key)
            (making / key).rename(final)
        finally:
            mounts.remove_tree(making)
        newest_first = sorted(final.parent.glob("[!.]*"), key=lambda f: -f.stat().st_mtime)
        for old in newest_first[KEPT:]:
            old.unlink()
    return final
