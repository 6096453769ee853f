"""JSON as Cedar may see it: translated, never handed over raw.

Raw, an argument `{"__entity": ...}` would become an entity and `{"__extn": ...}` an extension
value, either of which can switch a `forbid` off.
"""

from decimal import Decimal
from typing import Any

RESERVED = frozenset({"__entity", "__extn", "__expr"})
_LONG = 2**63
# Cedar's decimal is a 64-bit integer scaled by 10^4; 19 digits are enough for either.
_PLACES = 4
_MOST_DIGITS = 19


class Untranslatable(ValueError):
    """The arguments hold a key that Cedar would read as something else than data."""


def translated(value: Any) -> Any:
    """`value` (as `strict_json` reads it) in Cedar's JSON. Raises `Untranslatable`.

    Strings, booleans, lists and records stay; a number whose value is whole and fits 64 bits is a
    Long, another with at most four decimals a `decimal`; null and any other number become an entity
    `Json::"..."`, which `has` sees and no comparison accepts. Its id is the value in one spelling,
    so that two are equal exactly if their values are.
    """
    match value:
        case str() | bool():
            return value
        case dict():
            if not RESERVED.isdisjoint(value):
                key = next(key for key in value if key in RESERVED)
                raise Untranslatable(f"the argument key `{key}` is reserved by Cedar")
            return {key: translated(child) for key, child in value.items()}
        case list():
            return [translated(child) for child in value]
        case int():
            return value if -_LONG <= value < _LONG else _number(Decimal(value))
        case Decimal():
            return _number(value)
        case _:
            return _opaque("null")


def _number(value: Decimal) -> Any:
    # By its digits: the decimal module's own operations round to 28 of them.
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)  # noqa: S101  strict_json lets no NaN and no infinity in
    significant = "".join(map(str, digits)).rstrip("0")
    exponent += len(digits) - len(significant)
    if not significant:
        return 0
    opaque = _opaque(f"{'-' if sign else ''}{significant}e{exponent}")
    if exponent < -_PLACES or len(significant) + exponent > _MOST_DIGITS:
        return opaque
    if exponent >= 0:
        whole = int(significant) * 10**exponent * (-1 if sign else 1)
        return whole if -_LONG <= whole < _LONG else opaque
    scaled = int(significant) * 10 ** (exponent + _PLACES)
    if scaled >= _LONG:
        return opaque
    whole, fraction = divmod(scaled, 10**_PLACES)
    text = f"{'-' if sign else ''}{whole}.{fraction:0{_PLACES}d}"
    return {"__extn": {"fn": "decimal", "arg": text}}


def _opaque(id: str) -> Any:
    return {"__entity": {"type": "Json", "id": id}}
