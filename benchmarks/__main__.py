"""`make bench`: a table of requests a second, latency, CPU and memory, as measured just now."""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.contenders import Contender, contenders
from benchmarks.load import LoadFailed, Spent, cpu_seconds, press, resident
from examples.demo.processes import NotAsTold, free_port, listens, running

CONNECTIONS = (1, 16, 64)


@dataclass
class Measured:
    """One contender's figures, over all rounds."""

    name: str
    start_cpu: list[float] = field(default_factory=list)
    idle: list[int] = field(default_factory=list)
    loaded: list[int] = field(default_factory=list)
    runs: dict[int, list[Spent]] = field(default_factory=dict)


def main() -> int:
    """The exit code: 0, or 1 if something could not be measured."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often all are measured in turn")
    parser.add_argument("--seconds", type=int, default=3, help="how long each load lasts")
    options = parser.parse_args()
    try:
        print("\n".join(table(measure(options.rounds, options.seconds))))
    except (LoadFailed, NotAsTold) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def measure(rounds: int, seconds: int) -> list[Measured]:
    """Press everything in turn, `rounds` times, so that a slow minute is shared by all."""
    found = [Measured("direct"), *(Measured(one.name) for one in contenders())]
    with (
        tempfile.TemporaryDirectory(prefix="thoughtgate-bench-") as name,
        upstream(Path(name)) as port,
    ):
        for number in range(1, rounds + 1):
            print(f"round {number} of {rounds}", file=sys.stderr)
            _direct(found[0], port, seconds, Path(name))
            for one, measured in zip(contenders(), found[1:], strict=True):
                folder = Path(name) / f"{number}-{one.name.replace(' ', '-')}"
                folder.mkdir()
                _through(one, measured, port, seconds, folder)
    return found


@contextmanager
def upstream(folder: Path) -> Iterator[int]:
    """The server behind all of them; gives its port."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.upstream", str(port)]
    with running(command, folder / "upstream.log", os.environ, lambda: listens(port)):
        yield port


def _direct(measured: Measured, port: int, seconds: int, folder: Path) -> None:
    for connections in CONNECTIONS:
        spent = press(port, connections, seconds, folder, None)
        measured.runs.setdefault(connections, []).append(spent)


def _through(
    one: Contender, measured: Measured, upstream_port: int, seconds: int, folder: Path
) -> None:
    port = free_port()
    command = one.command(port, upstream_port, folder)
    env = {**os.environ, **one.env(port, upstream_port, folder)}
    # The log goes where a container's would: to a reader that keeps up.
    with running(command, folder / "log", env, lambda: listens(port)) as process:
        measured.start_cpu.append(cpu_seconds(process.pid))
        measured.idle.append(resident(process.pid))
        press(port, 16, 1, folder, process.pid)  # the first calls open the connections
        for connections in CONNECTIONS:
            spent = press(port, connections, seconds, folder, process.pid)
            measured.runs.setdefault(connections, []).append(spent)
        measured.loaded.append(resident(process.pid))


def table(found: list[Measured]) -> list[str]:
    """Medians, and in brackets the ratio to the plain proxy with its spread over the rounds."""
    plain = next(one for one in found if one.name == "plain")
    head = "| what | " + " | ".join(f"c={number}" for number in CONNECTIONS)
    lines = [
        f"{head} | p50 / p99 at 16 | CPU a request | MB idle, loaded | CPU s to start |",
        "|---" * (len(CONNECTIONS) + 5) + "|",
    ]
    for one in found:
        cells = [one.name]
        for number in CONNECTIONS:
            rates = [spent.per_second for spent in one.runs[number]]
            ratios = [
                rate / base.per_second for rate, base in zip(rates, plain.runs[number], strict=True)
            ]
            cells.append(
                f"{statistics.median(rates) / 1000:.1f} k/s "
                f"({statistics.median(ratios):.2f}x, {min(ratios):.2f} to {max(ratios):.2f})"
            )
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
        lines.append("| " + " | ".join(cells) + " |")
    return lines


if __name__ == "__main__":
    sys.exit(main())
