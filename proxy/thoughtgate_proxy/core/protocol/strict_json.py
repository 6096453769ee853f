"""JSON with one reading: text that two parsers could understand differently is refused.

Two parsers look at each body. orjson refuses what is no JSON (invalid UTF-8, byte order marks,
UTF-16, NaN, infinities, lone surrogates, a second document); the standard library's, which calls
back for each object, then refuses duplicate keys and keeps numbers exact. Bytes that are exactly
what their value is written as need neither: a key that stood twice, another spelling of a number
or a character would not have come back.
"""

import json
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

import msgspec
import orjson

MAX_DEPTH = 128
MAX_VALUES = 10_000
_BLANKS = " \t\r\n"


class UnreadableJSON(ValueError):
    """The text has no reading, or more than one; the message says which, in one line."""


class TooDeep(UnreadableJSON):
    """The text is nested deeper than allowed."""


class TooMany(UnreadableJSON):
    """The text has more keys and values than allowed."""


@dataclass(frozen=True, slots=True)
class NumberText:
    """A number as it stands in the text: `1E2` and `100` are two."""

    text: str


def loads(body: bytes, max_depth: int = MAX_DEPTH, max_values: int | None = None) -> Any:
    """Parse `body` (UTF-8) into dicts, lists, str, int, Decimal, bool and None.

    Numbers written with a fraction or an exponent become `Decimal`, so that none loses a digit.
    More than `max_values` keys and values together are refused before anything is parsed: a byte
    of text can take 35 of memory. Raises `UnreadableJSON`.
    """
    if max_values is not None and len(body) > max_values and _values(body, max_values) > max_values:
        raise TooMany(f"more than {max_values} keys and values")
    # Most clients write plainly, and so it is several times quicker. A level takes two bytes.
    if len(body) <= 2 * max_depth or _nested(body) <= max_depth:
        try:
            value = _PLAIN.decode(body)
            if orjson.dumps(value) == body:
                return value
        except (msgspec.MsgspecError, orjson.JSONEncodeError, ValueError, RecursionError):
            pass  # whoever looks closely says what is wrong, or that nothing is
    return _read(body, max_depth, _EXACT)


def as_written(body: bytes, max_depth: int = MAX_DEPTH) -> Any:
    """As `loads`, but each number stays the text that it is, a `NumberText`."""
    return _read(body, max_depth, _AS_WRITTEN)


def _read(body: bytes, max_depth: int, decoder: json.JSONDecoder) -> Any:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise UnreadableJSON(f"not one JSON document in UTF-8: {_first_line(error)}") from error
    if _nested(body) > max_depth and _depth(value) > max_depth:
        raise TooDeep(f"nested deeper than {max_depth} levels")
    try:
        # There is one document and nothing after it, as orjson has found; before it may be blanks.
        return decoder.raw_decode(body.decode().lstrip(_BLANKS))[0]
    except InvalidOperation as error:
        # `0e9999999999999999999` is zero to orjson, and beyond what a Decimal can hold.
        raise UnreadableJSON("the exponent of a number is too large") from error


def _values(body: bytes, enough: int) -> int:
    """How many keys and values a JSON text has, or some number up to `enough`."""
    most = body.count(b",") + body.count(b":") + _nested(body) + 1
    if most <= enough:
        return most  # signs within strings are counted too
    # An escaped quote ends no string; what stands outside of them is every other piece.
    pieces = body.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
    outside = b'"'.join(pieces[::2]).translate(None, b" \t\r\n")
    empty = outside.count(b"{}") + outside.count(b"[]")
    return outside.count(b",") + outside.count(b":") + _nested(outside) + 1 - empty


def _nested(body: bytes) -> int:
    """At least the nesting: far cheaper than to walk, and it settles almost every message."""
    return body.count(b"{") + body.count(b"[")


def _depth(value: Any) -> int:
    """The nesting of `value`; level by level, since recursion has a limit of its own."""
    depth, level = 0, [value]
    while level := [child for node in level for child in _children(node)]:
        depth += 1
    return depth + isinstance(value, dict | list)


def _children(node: Any) -> Any:
    children = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return (child for child in children if isinstance(child, dict | list))


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise UnreadableJSON(f"the key `{_shown(key)}` stands twice in one object")
            seen.add(key)
    return value


def _shown(key: str) -> str:
    return ascii(key[:80])[1:-1]


def _first_line(error: Exception) -> str:
    return str(error).split("\n", 1)[0][:200]


def _closely(_: str) -> Any:
    """A number with a fraction or an exponent is never read quickly."""
    raise ValueError("not an integer")


_PLAIN = msgspec.json.Decoder(float_hook=_closely)
_EXACT = json.JSONDecoder(object_pairs_hook=_unique, parse_float=Decimal)
_AS_WRITTEN = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=NumberText, parse_int=NumberText
)
