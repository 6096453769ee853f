"""A long run of the mixture with its faults: `python -m tests.proxy.long.soak [MINUTES]`.

Prints a line a minute, and fails if memory, descriptors or tasks have grown in the end.
"""

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import uvloop

from tests.harness.mcp_server import FakeMcpServer
from tests.harness.process_size import TASKS, descriptors, resident, tasks
from tests.harness.proxy_process import RULES, config, started
from tests.harness.wait import within
from tests.proxy.long.mixture import SOURCE, Arrived, Logged, Sent, mixed, script
from tests.proxy.long.tally import COUNTING, MIB, RELEASE_SECONDS, all_agree

_AT_ONCE = 100
_ROUND = 2_000
_GROWTH = 2 * MIB


@dataclass(frozen=True)
class Sample:
    """The proxy after so many seconds; memory in bytes."""

    seconds: float
    requests: int
    memory: int
    descriptors: int
    tasks: int

    def __str__(self) -> str:
        return (
            f"{self.seconds / 60:5.1f} min  {self.requests:9,} requests  "
            f"{self.memory / MIB:5.1f} MiB  {self.descriptors} descriptors  {self.tasks} tasks"
        )


async def soak(folder: Path, minutes: float) -> list[Sample]:
    """Run for so long; gives a sample a minute. Raises `AssertionError` if anything has grown."""
    env = {"TASKS_FILE": str(folder / TASKS)}
    async with FakeMcpServer(script) as server:
        text = config(server.url, RULES, SOURCE)
        async with started(folder, text, env=env, command=COUNTING) as proxy:
            arrived, logged, sent = Arrived(), Logged(), Sent()
            server.received, proxy.lines = arrived, logged
            files, running = descriptors(proxy), await tasks(proxy)
            begun, samples = time.monotonic(), list[Sample]()
            while (took := time.monotonic() - begun) < minutes * 60:
                first = sent.kinds.total()
                numbers = range(first, first + _ROUND)
                done = await mixed(server, proxy, arrived, numbers, _AT_ONCE)
                sent.kinds.update(done.kinds)
                if took >= len(samples) * 60:
                    samples.append(
                        Sample(
                            took, sent.kinds.total(), resident(proxy), descriptors(proxy),
                            await tasks(proxy),
                        )
                    )  # fmt: skip
                    print(samples[-1], flush=True)
            await all_agree(proxy, sent, arrived, logged)
            await within(
                lambda: descriptors(proxy) == files, "all descriptors closed", RELEASE_SECONDS
            )
            assert await tasks(proxy) == running
            flat(samples)
            return samples


def flat(samples: list[Sample]) -> None:
    """Hold the last quarter's memory against the second's: the first fills what is remembered."""
    quarter = max(1, len(samples) // 4)
    early = median(sample.memory for sample in samples[quarter : 2 * quarter] or samples)
    late = median(sample.memory for sample in samples[-quarter:])
    assert late - early < _GROWTH, f"memory grew from {early} to {late} bytes"


def main() -> None:
    """Run for 30 minutes, or as long as the one argument says."""
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 30.0
    with tempfile.TemporaryDirectory(prefix="thoughtgate-soak-") as folder:
        samples = uvloop.run(soak(Path(folder), minutes))
    print(f"flat after {samples[-1].requests:,} requests")


if __name__ == "__main__":
    main()
