"""A cgroup of its own for one process: a container's memory and processor."""

import contextlib
import os
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path("/sys/fs/cgroup")
MIB = 1 << 20


def missing() -> str | None:
    """Why no cgroup can be made here, if so."""
    if os.geteuid():
        return "a cgroup needs root"
    if _version_2():
        return None if os.access(ROOT / "cgroup.subtree_control", os.W_OK) else "no cgroups here"
    return None if (ROOT / "memory" / "cgroup.procs").exists() else "no memory cgroup here"


def needed() -> pytest.MarkDecorator:
    """The marker of tests that need one: skipped without, but a failure in CI."""
    reason = missing()
    return pytest.mark.skipif(
        reason is not None and os.environ.get("CI") != "true", reason=reason or ""
    )


def _version_2() -> bool:
    return (ROOT / "cgroup.controllers").exists()


class Cgroup:
    """Holds one process to so much memory (bytes) and so many processors."""

    def __init__(self, memory: int, cpus: float) -> None:
        name = f"thoughtgate-test-{os.getpid()}-{random.randrange(10**9)}"  # noqa: S311  a name
        quota = int(cpus * 100_000)
        if _version_2():
            (ROOT / "cgroup.subtree_control").write_text("+memory +cpu")
            self._folders = [ROOT / name]
            self._folders[0].mkdir()
            self._write(0, "memory.max", memory)
            self._write(0, "memory.swap.max", 0)
            (self._folders[0] / "cpu.max").write_text(f"{quota} 100000")
        else:
            self._folders = [ROOT / "memory" / name, ROOT / "cpu" / name]
            for folder in self._folders:
                folder.mkdir()
            self._write(0, "memory.limit_in_bytes", memory)
            with contextlib.suppress(OSError):  # where swap is not accounted for
                self._write(0, "memory.memsw.limit_in_bytes", memory)
            self._write(1, "cpu.cfs_period_us", 100_000)
            self._write(1, "cpu.cfs_quota_us", quota)

    def _write(self, folder: int, name: str, value: int) -> None:
        (self._folders[folder] / name).write_text(str(value))

    def command(self) -> list[str]:
        """What a command is run under, so that it is in there and sees its own limit."""
        seen = ROOT if _version_2() else ROOT / "memory"
        joined = "".join(f"echo $$ > {folder}/cgroup.procs; " for folder in self._folders)
        shell = f'{joined}mount --bind {self._folders[0]} {seen}; exec "$@"'
        return ["unshare", "-m", "sh", "-c", shell, "sh"]

    def used(self) -> int:
        """Anonymous memory, in bytes."""
        wanted = "anon" if _version_2() else "rss"
        lines = (self._folders[0] / "memory.stat").read_text().splitlines()
        return int(dict(line.split() for line in lines)[wanted])

    def remove(self) -> None:
        """Once its process has ended."""
        for folder in self._folders:
            for _ in range(50):
                with contextlib.suppress(OSError):
                    folder.rmdir()
                    break
                time.sleep(0.1)  # the kernel takes its time with the last page


@contextlib.contextmanager
def cgroup(memory: int = 50 * MIB, cpus: float = 0.1) -> Iterator[Cgroup]:
    """One for a while."""
    one = Cgroup(memory, cpus)
    try:
        yield one
    finally:
        one.remove()
