"""Kubernetes quantities: `250m`, `0.5`, `64Mi`, `1e3`.

Source: k8s.io/apimachinery/pkg/api/resource/quantity.go (grammar and suffixes).
"""

import re
from fractions import Fraction
from typing import Final

_SYNTAX: Final = re.compile(
    r"(?P<number>[0-9]+\.?[0-9]*|\.[0-9]+)"
    r"(?P<suffix>Ki|Mi|Gi|Ti|Pi|Ei|n|u|m|k|M|G|T|P|E|[eE][+-]?[0-9]{1,2})?"
)
_SUFFIXES: Final = {
    "n": Fraction(1, 10**9),
    "u": Fraction(1, 10**6),
    "m": Fraction(1, 10**3),
    "k": Fraction(10**3),
    "M": Fraction(10**6),
    "G": Fraction(10**9),
    "T": Fraction(10**12),
    "P": Fraction(10**15),
    "E": Fraction(10**18),
    "Ki": Fraction(2**10),
    "Mi": Fraction(2**20),
    "Gi": Fraction(2**30),
    "Ti": Fraction(2**40),
    "Pi": Fraction(2**50),
    "Ei": Fraction(2**60),
}
_LONGEST: Final = 40


def parse(value: str | float) -> Fraction:
    """Give the amount in cores or bytes; raise ValueError for what is not a quantity >= 0.

    YAML may give a number where the API server would give a string: both are read.
    """
    text = value if isinstance(value, str) else repr(value)
    match = _SYNTAX.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None:
        raise ValueError("is no quantity; allowed: such as `250m`, `0.5`, `64Mi`, `1G`")
    suffix = match["suffix"] or ""
    number = Fraction(match["number"])
    if suffix[:1] in {"e", "E"} and suffix not in _SUFFIXES:
        return number * Fraction(10) ** int(suffix[1:])
    return number * _SUFFIXES.get(suffix, Fraction(1))


def cpu(amount: Fraction) -> str:
    """Write cores as Kubernetes does: whole cores plain, else in thousandths, rounded up."""
    if amount.denominator == 1:
        return str(amount.numerator)
    return f"{-(-amount.numerator * 1000 // amount.denominator)}m"


def memory(amount: Fraction) -> str:
    """Write bytes with the largest binary suffix that keeps them exact, rounded up to a byte."""
    size = -(-amount.numerator // amount.denominator)
    for suffix in ("Ti", "Gi", "Mi", "Ki"):
        unit = _SUFFIXES[suffix].numerator
        if size and size % unit == 0:
            return f"{size // unit}{suffix}"
    return str(size)
