"""The tables of docs/compatibility.md, from real results."""

import importlib.metadata
import json
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from tests.conformance import journeys, suite
from tests.conformance.journeys import PAIRS, Pair, Step
from tests.conformance.measured import Measured
from tests.conformance.packages import HERE
from tests.conformance.suite import Verdicts

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"
BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
LACKING = "—"


def written() -> str:
    """The tables as they stand on the page."""
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0].strip()


def write(tables: str) -> None:
    """Put the tables on the page."""
    before, begin, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{begin}\n\n{tables}\n\n{END}{after}")


def tables(measured: Measured) -> str:
    """All tables, in Markdown."""
    parts = [versions(), "### The official suite", _suite(measured)]
    for (server, protocol), pairs in groupby(PAIRS, lambda pair: (pair.server, pair.protocol)):
        parts += [f"### Clients with {_SERVERS[server]}, at {protocol}"]
        parts += [_clients(measured, list(pairs))]
    return "\n\n".join(parts)


_SERVERS = {
    "fixture": "a server made with the Python package `mcp`",
    "everything": "`@modelcontextprotocol/server-everything`",
}


def versions() -> str:
    """The clients and tools that were measured with."""
    locked = json.loads((HERE / "package.json").read_text())["dependencies"]
    python = {"mcp": "mcp", "fastmcp": "fastmcp-slim"}
    found = [f"{name} {importlib.metadata.version(taken)}" for name, taken in python.items()]
    found += [f"{name} {version}" for name, version in locked.items()]
    return "Measured with " + ", ".join(f"`{name}`" for name in found) + "."


def _suite(measured: Measured) -> str:
    rows = [_row(revision, *measured.verdicts(revision)) for revision in suite.SELECTIONS]
    rows.insert(1, _row("2025-03-26, scenarios of later ones", *measured.forced()))
    return _table(
        (
            "revision",
            "scenarios",
            "passed directly",
            "through the proxy",
            "failed",
            "differences",
        ),
        rows,
    )


def _row(name: str, direct: Verdicts, through: Verdicts) -> list[str]:
    lost, new = direct.checks - through.checks, through.checks - direct.checks
    failed = f"{direct.count('FAILURE')} and {through.count('FAILURE')}"
    passed = [str(way.count("SUCCESS")) for way in (direct, through)]
    return [name, str(len(direct.scenarios)), *passed, failed, str((lost + new).total())]


def _clients(measured: Measured, pairs: list[Pair]) -> str:
    topics = {step.topic: None for pair in pairs for step in journeys.steps(pair)}
    rows = [[topic, *(_cell(measured, pair, topic) for pair in pairs)] for topic in topics]
    return _table(("", *(pair.client for pair in pairs)), rows)


def _cell(measured: Measured, pair: Pair, topic: str) -> str:
    found: list[Step] = [step for step in journeys.steps(pair) if step.topic == topic]
    if not found:
        return LACKING
    [step] = found
    direct, through = measured.outcomes(pair)[topic]
    if not (journeys.fits(step.expected, direct) and step.holds(direct, through)):
        return "**differs**"
    return "same" if step.through is None else "as ruled"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = list(head)
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
