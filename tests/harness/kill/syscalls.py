"""Death at a system call: the kernel has done all before it, and nothing from it on."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.harness.kill import life
from tests.harness.kill.trials import Begin

FILES = "pwrite64,fdatasync,fsync,ftruncate,unlink"
"""What SQLite changes its files with."""
SOCKETS = "sendto,write"
"""By which the world hears of anything."""


class _Traced:
    """A life under strace, with as much of a process as a trial needs."""

    def __init__(self, command: list[str]) -> None:
        # In a group of its own, so that the life ends with its strace.
        self._process = subprocess.Popen(command, start_new_session=True)
        self.exitcode: int | None = None

    def join(self, limit: float | None = None) -> None:
        self.exitcode = self._process.wait(limit)

    def kill(self) -> None:
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        self._process.wait()


def at(number: int, calls: str) -> Begin:
    """Killed as a thread of its comes to its `number`-th call of those."""
    trace = ("strace", "-f", "-qq", "-o", os.devnull, "-e", f"trace={calls}")
    inject = ("-e", f"inject={calls}:signal=SIGKILL:when={number}")

    def begin(folder: Path, socket: Path, names: list[str]) -> _Traced:
        python = (sys.executable, "-m", life.__name__, str(folder), str(socket), *names)
        return _Traced([*trace, *inject, *python])

    return begin
