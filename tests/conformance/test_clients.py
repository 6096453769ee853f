"""A real client sees through the proxy what it sees without, but for what the rules deny."""

import pytest

from tests.conformance import journeys
from tests.conformance.journeys import PAIRS, Pair, Step
from tests.conformance.measured import Measured

# The first test may have to install what npm brings.

TABLE = [
    pytest.param(pair, step, id=f"{pair}-{step}") for pair in PAIRS for step in journeys.steps(pair)
]


@pytest.mark.parametrize(("pair", "step"), TABLE)
def test_a_client_meets_a_server(measured: Measured, pair: Pair, step: Step) -> None:
    direct, through = measured.outcomes(pair)[step.topic]
    assert journeys.fits(step.expected, direct), f"directly: {direct}"
    assert step.holds(direct, through), f"through the proxy: {through}; directly: {direct}"


def test_no_topic_of_a_journey_has_the_name_of_another() -> None:
    for pair in PAIRS:
        topics = [step.topic for step in journeys.steps(pair)]
        assert len(topics) == len(set(topics))
