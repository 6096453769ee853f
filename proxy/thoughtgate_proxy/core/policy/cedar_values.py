"""JSON as Cedar may see it: translated, never handed over raw.

Raw, an argument `{"__entity": ...}` would become an entity and `{"__extn": ...}` an extension
value, either of which can switch a `forbid` off.
"""

from collections.abc import Collection, Iterable
from decimal import Decimal
from typing import Any

from thoughtgate_proxy.core.config.cedar_types import Type

RESERVED = frozenset({"__entity", "__extn", "__expr"})
_LONG = 2**63
# Cedar's decimal is a 64-bit integer scaled by 10^4; 19 digits are enough for either.
_PLACES = 4
_MOST_DIGITS = 19


class Untranslatable(ValueError):
    """The arguments hold a key that Cedar would read as something else than data."""


class Excerpt:
    """The part of the arguments that some policy asks for.

    Of the rest Cedar learns nothing: to hand over 10,000 values takes it 50 ms.
    """

    def __init__(
        self, reads: Iterable[tuple[str, ...]], values: Collection[tuple[str, ...]]
    ) -> None:
        """`values` are the paths whose whole value counts, `reads` all that are asked for."""
        self._whole = () in values
        first = {path[0] for path in (*reads, *values) if path}
        self._below = {
            key: Excerpt(
                [path[1:] for path in reads if path[:1] == (key,)],
                {path[1:] for path in values if path[:1] == (key,)},
            )
            for key in first
        }

    def of(self, value: Any) -> Any:
        """`value` without what nobody asks for; what it is itself, and is there, stays."""
        if self._whole:
            return value
        match value:
            case dict():
                below = self._below.items()
                return {key: part.of(value[key]) for key, part in below if key in value}
            case list():
                return []
        return value


def check(value: Any) -> None:
    """Raise `Untranslatable` if a key at any depth means something to Cedar."""
    todo = [value]
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            if not RESERVED.isdisjoint(node):
                key = next(key for key in node if key in RESERVED)
                raise Untranslatable(f"the argument key `{key}` is reserved by Cedar")
            todo.extend(node.values())
        elif isinstance(node, list):
            todo.extend(node)


def translated(value: Any) -> Any:
    """`value` (as `strict_json` reads it, and `check` lets pass) in Cedar's JSON.

    Strings, booleans, lists and records stay; a number whose value is whole and fits 64 bits is a
    Long, another with at most four decimals a `decimal`; null and any other number become an entity
    `Json::"..."`, which `has` sees and no comparison accepts. Its id is the value in one spelling,
    so that two are equal exactly if their values are.
    """
    match value:
        case str() | bool():
            return value
        case dict():
            return {key: translated(child) for key, child in value.items()}
        case list():
            return [translated(child) for child in value]
        case int():
            return value if -_LONG <= value < _LONG else _number(Decimal(value))
        case Decimal():
            return _number(value)
        case _:
            return _opaque("null")


def decimals(value: Any) -> Any:
    """`value` with each number as a `decimal` in its place, and nothing else: `resource.numbers`.

    None if there is nothing of it: it is no number, a number that no decimal holds exactly, or a
    list in which not everything is a number that one does. What is not there, Cedar errs about.
    """
    match value:
        case bool():
            return None
        case int() | Decimal():
            return _decimal(Decimal(value))
        case dict():
            inner = {key: decimals(child) for key, child in value.items()}
            return {key: child for key, child in inner.items() if child is not None}
        case list():
            members = [decimals(child) for child in value]
            return None if None in members else members
    return None


def kinds(value: Any) -> Any:
    """`value` with the name of its kind for whatever is no record and no list: `resource.kinds`."""
    match value:
        case dict():
            return {key: kinds(child) for key, child in value.items()}
        case list():
            return [kinds(child) for child in value]
    return kind(value)


def kind(value: Any) -> str:
    """What a value is: the text of a `cedar_types.Type`, or "null", or "number" beyond Cedar's."""
    match value:
        case None:
            return "null"
        case bool():
            return Type.BOOLEAN.value
        case str():
            return Type.STRING.value
        case list():
            return Type.LIST.value
        case dict():
            return Type.RECORD.value
    seen = translated(value)
    if isinstance(seen, int):
        return Type.INTEGER.value
    return Type.DECIMAL.value if "__extn" in seen else "number"


def _number(value: Decimal) -> Any:
    # By its digits: the decimal module's own operations round to 28 of them.
    sign, significant, exponent = _digits(value)
    if not significant:
        return 0
    if exponent >= 0 and len(significant) + exponent <= _MOST_DIGITS:
        whole = int(significant) * 10**exponent * (-1 if sign else 1)
        if -_LONG <= whole < _LONG:
            return whole
    decimal = _decimal(value) if exponent < 0 else None
    return decimal or _opaque(f"{'-' if sign else ''}{significant}e{exponent}")


def _decimal(value: Decimal) -> Any:
    """The value as Cedar's decimal; None if none is exactly it."""
    sign, significant, exponent = _digits(value)
    if exponent < -_PLACES or len(significant) + exponent > _MOST_DIGITS - _PLACES:
        return None
    scaled = int(significant or "0") * 10 ** (exponent + _PLACES)
    if scaled >= _LONG:
        return None
    whole, fraction = divmod(scaled, 10**_PLACES)
    text = f"{'-' if sign and scaled else ''}{whole}.{fraction:0{_PLACES}d}"
    return {"__extn": {"fn": "decimal", "arg": text}}


def _digits(value: Decimal) -> tuple[int, str, int]:
    """Sign, digits without the zeros at their end ("" for zero), and the exponent to them."""
    sign, digits, exponent = value.as_tuple()
    assert isinstance(exponent, int)  # noqa: S101  strict_json lets no NaN and no infinity in
    significant = "".join(map(str, digits)).rstrip("0").lstrip("0")
    exponent += len(digits) - len("".join(map(str, digits)).rstrip("0"))
    return sign, significant, exponent if significant else 0


def _opaque(id: str) -> Any:
    return {"__entity": {"type": "Json", "id": id}}
