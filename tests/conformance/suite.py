"""Runs the official conformance suite, and reads its verdicts."""

import json
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conformance.packages import Node
from tests.conformance.processes import ran

SECONDS = 90.0

SELECTIONS: dict[str, tuple[str, ...]] = {
    "2025-03-26": ("--suite", "all", "--spec-version", "2025-03-26"),
    "2025-06-18": ("--suite", "all", "--spec-version", "2025-06-18"),
    "2025-11-25": ("--suite", "all", "--spec-version", "2025-11-25"),
    "2026-07-28": ("--requirements", "2026-07-28"),
}
"""How the suite is asked for everything that it has on a revision."""

FORCED = (
    "server-initialize", "ping", "logging-set-level", "tools-call-mixed-content",
    "tools-call-with-logging", "tools-call-with-progress", "tools-call-sampling",
    "resources-read-binary", "resources-templates-read", "resources-subscribe",
    "prompts-get-embedded-resource", "completion-complete",
)  # fmt: skip
"""What revision 2025-03-26 has as well, although the suite names it for later ones only."""


@dataclass(frozen=True)
class Verdicts:
    """What the suite says: how often each scenario gave each check each status."""

    checks: Counter[tuple[str, str, str]]
    told: Counter[tuple[str, str, str]]
    """Those without a verdict (INFO): how many there are can depend on timing."""
    reasons: tuple[str, ...]
    """The suite's own words on what failed."""

    def count(self, status: str) -> int:
        """How many checks have that status."""
        return sum(count for (_, _, given), count in self.checks.items() if given == status)

    @property
    def scenarios(self) -> frozenset[str]:
        """The names of the scenarios that ran."""
        return frozenset(scenario for scenario, _, _ in self.checks | self.told)

    def __add__(self, other: "Verdicts") -> "Verdicts":
        return Verdicts(
            self.checks + other.checks, self.told + other.told, self.reasons + other.reasons
        )


async def run(node: Node, url: str, *selection: str) -> Verdicts:
    """All verdicts on the server at `url`."""
    program = node.package("conformance", "dist/index.js")
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        command = [*program, "server", "--url", url, *selection, "-o", folder]
        ended = await ran(command, node.env, "", SECONDS)
        verdicts = _read(Path(folder))
    assert verdicts.checks, (
        f"the suite gave no verdict: {ended.output[-2000:]}{ended.errors[-2000:]}"
    )
    return verdicts


def _read(folder: Path) -> Verdicts:
    checks: Counter[tuple[str, str, str]] = Counter()
    told: Counter[tuple[str, str, str]] = Counter()
    reasons: list[str] = []
    for path in sorted(folder.glob("server-*/checks.json")):
        # server-SCENARIO-2026-07-28T12-30-00-000Z
        scenario = path.parent.name.removeprefix("server-")[: -len("-2026-07-28T12-30-00-000Z")]
        verdicts: list[dict[str, Any]] = json.loads(path.read_text())
        for check in verdicts:
            key = (scenario, check["id"], check["status"])
            (told if check["status"] == "INFO" else checks)[key] += 1
            if check["status"] in ("FAILURE", "WARNING"):
                reasons.append(f"{scenario}: {check['id']}: {check.get('errorMessage')}")
    return Verdicts(checks, told, tuple(reasons))
