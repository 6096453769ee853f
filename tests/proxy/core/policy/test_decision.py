"""What several decisions on one request come to."""

from dataclasses import replace

import pytest

from thoughtgate_proxy.core.policy.decision import (
    Decision,
    Gate,
    Outcome,
    first_stopped,
    settle_holds,
)

FORWARD = Decision(Outcome.FORWARD, Gate.RULES, "a rule forwards it", "")
DENY = Decision(Outcome.DENY, Gate.RULES, "a rule denies it", "")
HOLD = Decision(Outcome.HOLD, Gate.RULES, "a rule asks", "", workflow="one")
OTHER = replace(HOLD, workflow="other")


@pytest.mark.parametrize(
    ("decisions", "stopped"),
    [
        ((), None),
        ((FORWARD, replace(DENY, observed=True), replace(HOLD, observed=True)), None),
        ((FORWARD, HOLD), HOLD),
        ((HOLD, OTHER), HOLD),
        ((HOLD, FORWARD, DENY), DENY),
        ((DENY, HOLD), DENY),
    ],
    ids=["none", "observed", "a hold", "the first hold", "a later denial", "a denial"],
)
def test_a_denial_wins_over_a_hold_wherever_it_stands(
    decisions: tuple[Decision, ...], stopped: Decision | None
) -> None:
    assert first_stopped(decisions) is stopped


@pytest.mark.parametrize(
    ("decisions", "alone", "why"),
    [
        ((HOLD, OTHER), True, "other approvers for other parts"),
        ((HOLD, FORWARD), False, "no batch can wait"),
        ((HOLD, OTHER, DENY), True, "other approvers for other parts"),
    ],
    ids=["two workflows", "in a batch", "beside a denial"],
)
def test_a_hold_that_cannot_be_waited_for_is_a_denial(
    decisions: tuple[Decision, ...], alone: bool, why: str
) -> None:
    for before, after in zip(decisions, settle_holds(decisions, alone=alone), strict=True):
        if before.outcome is Outcome.HOLD:
            assert (after.outcome, after.gate) == (Outcome.DENY, Gate.APPROVAL)
            assert after.reason.startswith(f"{before.reason}, ")
            assert why in after.reason
        else:
            assert after == before


@pytest.mark.parametrize(
    ("decisions", "alone"),
    [
        ((HOLD, FORWARD, HOLD), True),
        ((HOLD, replace(OTHER, observed=True)), True),
        ((FORWARD, DENY, replace(HOLD, observed=True)), False),
    ],
    ids=["one workflow", "another one observed", "a batch without a hold"],
)
def test_other_decisions_stay_as_they_are(decisions: tuple[Decision, ...], alone: bool) -> None:
    assert settle_holds(decisions, alone=alone) == decisions
