"""What peers are charged, and what is left for others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thoughtgate_proxy.core.memory_budget import (
    SMALL_BYTES,
    Budget,
    NoRoom,
    Share,
    TooBig,
    parsed_cost,
)

MIB = 1 << 20


def test_a_body_is_charged_its_size_thrice_and_its_values() -> None:
    assert parsed_cost(b'[{"a":1},2]') == 3 * 11 + 100 * 3
    assert parsed_cost(b"{}," * 300_000) > 55 * MIB


def test_what_never_fits_is_told_from_what_does_not_fit_now() -> None:
    budget = Budget(1000)
    first, second = Share(budget), Share(budget)
    first.add(600)
    with pytest.raises(NoRoom):
        second.add(600)
    with pytest.raises(TooBig):
        second.add(1200)
    assert budget.taken == 600
    second.add(400)
    second.release()
    second.release()
    first.keep(100)
    first.subtract(40)
    assert budget.taken == 60


def test_only_what_is_small_may_use_the_reserve() -> None:
    budget = Budget(8 * MIB)
    large, second, small = Share(budget), Share(budget), Share(budget)
    large.add(7 * MIB)
    with pytest.raises(NoRoom):
        second.add(SMALL_BYTES + 1)
    with pytest.raises(TooBig):
        large.add(1)
    small.add(SMALL_BYTES)
    with pytest.raises(NoRoom):
        small.add(1)


def test_it_tells_once_that_it_is_empty_again() -> None:
    budget = Budget(8 * MIB)
    share = Share(budget)
    assert not budget.emptied(MIB)
    share.add(2 * MIB)
    assert not budget.emptied(MIB)
    share.release()
    assert not budget.emptied(4 * MIB)
    assert budget.emptied(MIB)
    assert not budget.emptied(MIB)


@given(st.lists(st.lists(st.integers(0, 200), max_size=5), max_size=8))
def test_nothing_stays_charged(sizes: list[list[int]]) -> None:
    budget = Budget(300)
    for pieces in sizes:
        share = Share(budget)
        try:
            for piece in pieces:
                share.add(piece)
                assert budget.taken <= 300
        except (TooBig, NoRoom):
            pass
        finally:
            share.release()
    assert budget.taken == 0
