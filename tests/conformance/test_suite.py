"""The official suite gives the same verdicts through the proxy as directly, on each revision."""

import pytest

from tests.conformance import suite
from tests.conformance.measured import Measured
from tests.conformance.suite import Verdicts

# The first test may have to install what npm brings.

PASSED = {"2025-03-26": 3, "2025-06-18": 56, "2025-11-25": 84, "2026-07-28": 196}
"""How many checks pass directly, and none fails: with fewer the comparison would say little."""


def alike(direct: Verdicts, through: Verdicts) -> None:
    """Fail with the suite's own words where the two differ."""
    lost, new = direct.checks - through.checks, through.checks - direct.checks
    assert not lost, f"lost through the proxy: {lost}; {through.reasons}"
    assert not new, f"only through the proxy: {new}; {through.reasons}"
    assert direct.told.keys() == through.told.keys()


@pytest.mark.parametrize("revision", suite.SELECTIONS)
def test_each_check_of_a_revision_has_the_same_verdict_with_and_without(
    measured: Measured, revision: str
) -> None:
    direct, through = measured.verdicts(revision)
    assert direct.count("SUCCESS") == PASSED[revision], direct.reasons
    assert not direct.reasons
    alike(direct, through)


def test_what_the_suite_has_for_later_revisions_holds_for_2025_03_26_as_well(
    measured: Measured,
) -> None:
    direct, through = measured.forced()
    assert direct.scenarios == set(suite.FORCED)
    assert not direct.reasons
    alike(direct, through)
