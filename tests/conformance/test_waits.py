"""Real clients, with their default time-outs, wait for humans."""

import asyncio
from pathlib import Path

import pytest

from tests.conformance import waits, waits_report
from tests.conformance.packages import Node


def test_each_client_gets_what_is_approved_after_5_s_and_after_it_came_back(
    packages: Node, tmp_path: Path
) -> None:
    async def test() -> None:
        # Short holds, so that the clients of 2026-07-28 go round several times.
        async with waits.before(packages, tmp_path, hold="2s") as clients:
            found = await waits.all_of(clients, [5])
        for (waiter, case), waited in found.items():
            told = waited.first if case == "5 s" else waited.again
            assert waits.greeted(told), f"{waiter}, {case}: {waited}"

    asyncio.run(test())


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_the_page_says_how_each_client_waits_for_90_s(packages: Node, tmp_path: Path) -> None:
    tables = asyncio.run(waits_report.measured(packages, tmp_path))
    again = "measure anew with `python -m tests.conformance.waits_report`"
    assert waits_report.written() == tables, again
