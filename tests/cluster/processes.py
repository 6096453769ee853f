"""Starts the node's programs and ends exactly those.

A process is named by its number, its start time and the boot that it belongs to: a number alone
may have gone to somebody else's process by the time a later run cleans up after a crash.
"""

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.commands import PATH, CommandFailedError, failure

BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Program:
    """A started program of the node."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def check(self) -> None:
        """Raises, with the end of its log, if the program has ended."""
        code = self.process.poll()
        if code is not None:
            log = self.log.read_text(errors="replace")
            raise CommandFailedError(failure([self.name], code, log))


def start(name: str, command: list[str], logs: Path, records: Path) -> Program:
    """Starts a program whose number is recorded for a later clean-up.

    It also dies with the thread that started it (so call this from the main one), for when
    nobody is left to clean up.
    """
    log = logs / f"{name}.log"
    bound = ["setpriv", "--pdeathsig", "KILL", "--", *command]
    # Its own session: Ctrl-C is for us, who take the programs down in order.
    with log.open("wb") as output:
        process = subprocess.Popen(
            bound,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PATH": PATH},
        )
    (records / name).write_text(identity(process.pid) or "")
    return Program(name, process, log)


def identity(pid: int) -> str | None:
    """`<number> <start time in ticks> <boot>`, or None when it has ended, zombies included."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = stat.rpartition(")")[2].split()  # the name before it may hold spaces
    return None if state in "ZX" else f"{pid} {fields[18]} {BOOT.read_text().strip()}"


def recorded(records: Path) -> list[int]:
    """Numbers of the recorded processes that still run."""
    if not records.is_dir():
        return []
    texts = [file.read_text() for file in records.iterdir()]
    return [
        int(text.split()[0]) for text in texts if text and identity(int(text.split()[0])) == text
    ]


def shims(folder: Path) -> list[int]:
    """containerd's shims of this run: its containerd is named by its socket's path."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        is_shim = Path(words[0]).name.startswith("containerd-shim")
        if is_shim and any(word.startswith(f"{folder}/") for word in words[1:]):
            found.append(int(process.name))
    return found


def kill(pids: list[int]) -> None:
    """SIGKILL: nothing that they hold is needed any more."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def wait_gone(pids: list[int], limit: float = 10) -> None:
    """Waits until all have ended."""
    deadline = time.monotonic() + limit
    while alive := [pid for pid in pids if identity(pid)]:
        if time.monotonic() > deadline:
            raise CommandFailedError(f"processes {alive} are still there {limit} s after SIGKILL")
        time.sleep(0.02)
