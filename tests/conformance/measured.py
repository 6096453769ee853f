"""What came of the suite and of the journeys, each made once and kept."""

from typing import Any

from tests.conformance import journeys, suite
from tests.conformance.journeys import Pair
from tests.conformance.suite import Verdicts
from tests.conformance.world import World

Outcomes = dict[str, tuple[Any, Any]]
"""What came of each step, by its topic: directly, and through the proxy."""


class Measured:
    """Each of the results, directly and through the proxy."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._verdicts: dict[str, tuple[Verdicts, Verdicts]] = {}
        self._outcomes: dict[Pair, Outcomes] = {}

    def verdicts(self, revision: str) -> tuple[Verdicts, Verdicts]:
        """All that the suite has on a revision."""
        if revision not in self._verdicts:
            selection = suite.SELECTIONS[revision]
            self._verdicts[revision] = self._world.both(
                "fixture", lambda url: suite.run(self._world.node, url, *selection)
            )
        return self._verdicts[revision]

    def forced(self) -> tuple[Verdicts, Verdicts]:
        """`suite.FORCED` at revision 2025-03-26."""

        async def one_by_one(url: str) -> Verdicts:
            given = ("--spec-version", "2025-03-26", "--force")
            first, *rest = [
                await suite.run(self._world.node, url, "--scenario", name, *given)
                for name in suite.FORCED
            ]
            return sum(rest, first)

        if "forced" not in self._verdicts:
            self._verdicts["forced"] = self._world.both("fixture", one_by_one)
        return self._verdicts["forced"]

    def outcomes(self, pair: Pair) -> Outcomes:
        """The steps of a pair's journeys."""
        if pair not in self._outcomes:
            both = self._world.both(
                pair.server, lambda url: journeys.outcomes(self._world.node, pair, url)
            )
            topics = [step.topic for step in journeys.steps(pair)]
            self._outcomes[pair] = dict(zip(topics, zip(*both, strict=True), strict=True))
        return self._outcomes[pair]
