"""The phases of a held request's stream."""

import pytest

from thoughtgate_proxy.holds.phase import NEXT, Phase

WAITING = (Phase.OPENED, Phase.PENDING, Phase.SENDING, Phase.STREAMING)


@pytest.mark.parametrize("phase", Phase)
def test_a_client_may_go_in_each_phase_but_the_last(phase: Phase) -> None:
    assert (Phase.ENDED in NEXT[phase]) is (phase is not Phase.ENDED)


@pytest.mark.parametrize("phase", Phase)
def test_only_what_still_waits_can_be_taken_back(phase: Phase) -> None:
    assert (Phase.TAKEN_BACK in NEXT[phase]) is (phase in WAITING)


def test_no_phase_comes_twice() -> None:
    order = list(Phase)
    for phase, following in NEXT.items():
        assert all(order.index(phase) < order.index(one) for one in following)


def test_an_approval_is_answered_only_after_its_call_was_handed_to_the_dispatcher() -> None:
    assert [phase for phase in Phase if Phase.ANSWERED in NEXT[phase]] == [Phase.SENDING]
