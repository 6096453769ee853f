"""Starts the node's programs, and finds exactly those of a run, its own and its containers'."""

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.commands import BOUND, PATH, CommandFailedError, failure

# What runs for a cluster besides the binaries that we build.
DEBIANS = ("containerd", "containerd-shim-runc-v2", "ctr", "runc")


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


def start(name: str, command: list[str], logs: Path) -> Program:
    """Starts a program that dies with the thread that started it: call this from the main one."""
    log = logs / f"{name}.log"
    # Its own session: Ctrl-C is for us, who take the programs down in order.
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*BOUND, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "PATH": PATH},
        )
    return Program(name, process, log)


def of_run(folder: Path) -> list[int]:
    """The run's processes that are there: programs of ours with its folder on their command line.

    The folder's name is random, so this is as sure as a number written down, which a crash right
    after a start would leave unwritten; and a number may meanwhile be somebody else's.
    """
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        words = _command_line(process)
        program = Path(words[0])
        is_ours = program.name in DEBIANS or program.parent.name.endswith("-binary")
        if is_ours and any(f"{folder}/" in word for word in words[1:]):
            found.append(int(process.name))
    return found


def _command_line(process: Path) -> list[str]:
    """Its words; an empty one for a zombie, a kernel thread, or one that has just ended."""
    try:
        return (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return [""]


def kill(pids: list[int]) -> None:
    """SIGKILL: nothing that they hold is needed any more."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def end(folder: Path, limit: float = 60) -> None:
    """Ends all processes of the run but those inside its containers."""
    deadline = time.monotonic() + limit
    while pids := of_run(folder):
        kill(pids)
        if time.monotonic() > deadline:
            raise CommandFailedError(f"processes {pids} withstand SIGKILL for {limit:.0f} s")
        time.sleep(0.02)
