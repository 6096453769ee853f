"""The forward path: every contender pressed in turn, again and again, before one upstream."""

import os
import statistics
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from benchmarks.contenders import Contender
from benchmarks.load import Aim, Spent, cpu_seconds, press, resident
from examples.demo.processes import free_port, listens, running

CONNECTIONS = (1, 16, 64)

T = TypeVar("T")


@dataclass
class Measured:
    """One contender's figures, one of each a round. Memory in bytes, CPU in seconds."""

    name: str
    start_cpu: list[float] = field(default_factory=list)
    idle: list[int] = field(default_factory=list)
    loaded: list[int] = field(default_factory=list)
    runs: dict[int, list[Spent]] = field(default_factory=dict)


def measure(contenders: Sequence[Contender], rounds: int, seconds: int) -> list[Measured]:
    """Press everything in turn, `rounds` times, so that a slow minute is shared by all."""
    found = [Measured("direct"), *(Measured(one.name) for one in contenders)]
    with (
        tempfile.TemporaryDirectory(prefix="thoughtgate-bench-") as name,
        upstream(Path(name)) as port,
    ):
        for number in range(1, rounds + 1):
            print(f"round {number} of {rounds}", file=sys.stderr)
            for connections in CONNECTIONS:
                spent = press(Aim(port), connections, seconds, Path(name), None)
                found[0].runs.setdefault(connections, []).append(spent)
            for index, one in enumerate(contenders, 1):
                folder = Path(name) / f"{number}-{index}"
                folder.mkdir()
                _through(one, found[index], port, seconds, folder)
    return found


@contextmanager
def upstream(folder: Path) -> Iterator[int]:
    """The server behind all of them; gives its port."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.upstream", str(port)]
    with running(command, folder / "upstream.log", os.environ, lambda: listens(port)):
        yield port


@contextmanager
def started(one: Contender, upstream_port: int, folder: Path) -> Iterator[tuple[int, Aim]]:
    """A contender that serves: its process id, and where the load goes."""
    port = free_port()
    env = {**os.environ, **one.env(port, upstream_port, folder)}
    command = one.command(port, upstream_port, folder)
    # The log goes where a container's would: to a reader that keeps up.
    with running(command, folder / "log", env, _serves(one, port)) as process:
        headers = one.prepare(port, upstream_port, folder)
        yield process.pid, Aim(port, one.path, one.tool, headers)


def _serves(one: Contender, port: int) -> Callable[[], bool]:
    def asked() -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{one.ready}", timeout=5) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    return asked if one.ready else lambda: listens(port)


def _through(
    one: Contender, measured: Measured, upstream_port: int, seconds: int, folder: Path
) -> None:
    seconds = max(seconds, one.least_seconds)
    with started(one, upstream_port, folder) as (pid, aim):
        measured.start_cpu.append(cpu_seconds(pid))
        measured.idle.append(resident(pid))
        press(
            aim, 16, one.warm_seconds, folder, pid, least=0
        )  # the first calls open the connections
        for connections in CONNECTIONS:
            spent = press(aim, connections, seconds, folder, pid)
            measured.runs.setdefault(connections, []).append(spent)
        measured.loaded.append(resident(pid))


def table(found: Sequence[Measured]) -> list[str]:
    """Medians of all, and below them ours as a ratio of each other's, with its spread."""
    lines = [
        (
            f"| what | {' | '.join(f'c={n}' for n in CONNECTIONS)} | p50 / p99 at 16 | "
            "CPU a request at 16 | MB idle, loaded | CPU s to start |"
        ),
        "|---" * (len(CONNECTIONS) + 5) + "|",
    ]
    lines += [_absolute(one) for one in found]
    ours = next(one for one in found if one.name == "thoughtgate")
    lines += [
        "",
        "ThoughtGate as a multiple of each other, by rounds: median (least to most)",
        "",
        (
            f"| beside | {' | '.join(f'requests/s, c={n}' for n in CONNECTIONS)} | p50 at 16 | "
            "CPU a request at 16 | MB loaded |"
        ),
        "|---" * (len(CONNECTIONS) + 4) + "|",
    ]
    lines += [_relative(ours, one) for one in found if one.idle and one is not ours]
    return lines


def _absolute(one: Measured) -> str:
    cells = [one.name]
    for number in CONNECTIONS:
        rate = statistics.median(spent.per_second for spent in one.runs[number])
        cells.append(f"{rate / 1000:.1f} k/s" if rate >= 1000 else f"{rate:.0f}/s")
    at16 = one.runs[16]
    p50 = statistics.median(spent.p50 for spent in at16) * 1000
    p99 = statistics.median(spent.p99 for spent in at16) * 1000
    cells.append(f"{p50:.2f} / {p99:.2f} ms")
    if one.idle:
        cpu = statistics.median(spent.cpu_per_request for spent in at16) * 1e6
        idle, loaded = statistics.median(one.idle) / 1e6, statistics.median(one.loaded) / 1e6
        cells += [f"{cpu:.0f} us", f"{idle:.0f}, {loaded:.0f}"]
        cells.append(f"{statistics.median(one.start_cpu):.2f}")
    else:
        cells += ["", "", ""]
    return "| " + " | ".join(cells) + " |"


def _relative(ours: Measured, other: Measured) -> str:
    cells = [
        other.name,
        *(
            _ratio(ours.runs[number], other.runs[number], lambda spent: spent.per_second)
            for number in CONNECTIONS
        ),
    ]
    cells.append(_ratio(ours.runs[16], other.runs[16], lambda spent: spent.p50))
    cells.append(_ratio(ours.runs[16], other.runs[16], lambda spent: spent.cpu_per_request))
    cells.append(_ratio(ours.loaded, other.loaded, float))
    return "| " + " | ".join(cells) + " |"


def _ratio(ours: Sequence[T], others: Sequence[T], figure: Callable[[T], float]) -> str:
    found = [
        figure(mine) / theirs if (theirs := figure(other)) else 0.0
        for mine, other in zip(ours, others, strict=True)
    ]
    return f"{statistics.median(found):.2f}x ({min(found):.2f} to {max(found):.2f})"
