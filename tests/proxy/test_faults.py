"""Whatever spoils a request, it is counted and logged once, and nothing of it stays behind."""

from pathlib import Path

from tests.awaiting import run
from tests.proxy.long.tally import MIB, run_mixture


def test_after_fifteen_hundred_requests_with_faults_all_counts_agree(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        await run_mixture(tmp_path, 1500, at_once=100, growth=32 * MIB)

    test()
