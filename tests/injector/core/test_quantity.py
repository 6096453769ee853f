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


@pytest.mark.parametrize(
    ("suffix", "factor"),
    [
        ("n", Fraction(1, 10**9)),
        ("u", Fraction(1, 10**6)),
        ("m", Fraction(1, 10**3)),
        *((suffix, Fraction(1000) ** (power + 1)) for power, suffix in enumerate("kMGTPE")),
        *((f"{suffix}i", Fraction(1024) ** (power + 1)) for power, suffix in enumerate("KMGTPE")),
        ("e99", Fraction(10) ** 99),
        ("e-99", Fraction(1, 10**99)),
        ("E+0", Fraction(1)),
    ],
)
def test_every_suffix_has_its_factor(suffix: str, factor: Fraction) -> None:
    assert quantity.parse(f"3{suffix}") == 3 * factor


@pytest.mark.parametrize("text", ["1" * 40, "0." + "1" * 38])
def test_forty_characters_are_read_and_one_more_is_an_error(text: str) -> None:
    assert quantity.parse(text) == Fraction(text)
    with pytest.raises(ValueError, match="is no quantity"):
        quantity.parse(text + "1")


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (Fraction(0), "0"),
        (Fraction(1), "1"),
        (Fraction(3, 2), "1500m"),
        (Fraction(1, 1000), "1m"),
        (Fraction(1, 1001), "1m"),
        (Fraction(1001, 10**6), "2m"),
    ],
)
def test_cpu_is_written_in_whole_cores_or_in_thousandths_rounded_up(
    amount: Fraction, text: str
) -> None:
    assert quantity.cpu(amount) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        (Fraction(0), "0"),
        (Fraction(1, 2), "1"),
        (Fraction(3, 2), "2"),
        (Fraction(1023), "1023"),
        (Fraction(1024), "1Ki"),
        (Fraction(1025), "1025"),
        (Fraction(2**20), "1Mi"),
        (Fraction(2**20 + 2**10), "1025Ki"),
        (Fraction(2**30), "1Gi"),
        (Fraction(2**40), "1Ti"),
        (Fraction(2**50), "1024Ti"),
    ],
)
def test_memory_is_written_with_the_largest_suffix_that_is_exact(
    amount: Fraction, text: str
) -> None:
    assert quantity.memory(amount) == text
