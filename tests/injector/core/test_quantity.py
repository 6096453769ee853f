"""Kubernetes quantities."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thoughtgate_injector.core import quantity


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("1", Fraction(1)),
        ("250m", Fraction(1, 4)),
        ("0.5", Fraction(1, 2)),
        (".5", Fraction(1, 2)),
        ("5.", Fraction(5)),
        ("64Mi", Fraction(64 * 2**20)),
        ("1.5Gi", Fraction(3 * 2**29)),
        ("1k", Fraction(1000)),
        ("1E", Fraction(10**18)),
        ("1e3", Fraction(1000)),
        ("1E3", Fraction(1000)),
        ("1e-3", Fraction(1, 1000)),
        (2, Fraction(2)),
        (0.1, Fraction(1, 10)),
    ],
)
def test_a_quantity_is_read_exactly(text: str | float, amount: Fraction) -> None:
    assert quantity.parse(text) == amount


@pytest.mark.parametrize(
    "text",
    [
        "",
        " 1",
        "1 ",
        "1K",
        "1mi",
        "1 Mi",
        "-1",
        "+1",
        "1e",
        "1e999",
        "1,5",
        "١",
        "nan",
        "1" * 41,
        ".",
    ],
)
def test_what_is_no_quantity_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="is no quantity"):
        quantity.parse(text)


@given(st.integers(0, 10**7))
def test_cpu_is_written_so_that_it_reads_the_same(thousandths: int) -> None:
    amount = Fraction(thousandths, 1000)
    assert quantity.parse(quantity.cpu(amount)) == amount


@given(st.integers(0, 2**50))
def test_memory_is_written_so_that_it_reads_the_same(size: int) -> None:
    assert quantity.parse(quantity.memory(Fraction(size))) == size
