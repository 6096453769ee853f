"""The table of docs/waiting.md, from real runs: `python -m tests.conformance.waits_report`."""

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.conformance import waits
from tests.conformance.packages import Node, Unavailable, node
from tests.conformance.report import versions
from tests.conformance.waits import WAITERS, Waited

PAGE = Path(__file__).parents[2] / "docs" / "waiting.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
_LATE = (5.0, 90.0)


async def measured(packages: Node, folder: Path) -> str:
    """The table, with the workflow's default settings; takes two minutes."""
    async with waits.before(packages, folder) as clients:
        found = await waits.all_of(clients, _LATE)
    cases = [*(f"{late:g} s" for late in _LATE), "came back"]
    head = ["client", "revision", "way of waiting", "decision after 5 s", "after 90 s",
            "client gone, decision, client back"]  # fmt: skip
    rows = [
        [waiter.client, waiter.protocol, waiter.way, *(_cell(found[waiter, c], c) for c in cases)]
        for waiter in WAITERS
    ]
    lines = [head, ["---"] * len(head), *rows]
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return f"{versions()}\n\n{table}"


def _cell(waited: Waited, case: str) -> str:
    if case == "came back":
        return "result" if waits.greeted(waited.again) else f"**{waited.again}**"
    if waits.greeted(waited.first):
        return "result"
    if waits.greeted(waited.again):
        return f"its own time-out ({waited.first['failed']}) after 60 s; the same call: result"
    return f"**{waited}**"


def written() -> str:
    """The table as it stands on the page."""
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip()


def main() -> int:
    """The exit code: 0 if the table was written."""
    try:
        packages = node()
    except Unavailable as error:
        print(f"nothing can be measured here: {error}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="waits-") as folder:
        table = asyncio.run(measured(packages, Path(folder)))
    before, begin, rest = PAGE.read_text().partition(BEGIN)
    PAGE.write_text(f"{before}{begin}\n\n{table}\n\n{END}{rest.partition(END)[2]}")
    print(f"written: {PAGE.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
