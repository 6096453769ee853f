"""Why Cedar erred about an argument's type, in words and without the value."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from thoughtgate_proxy.core.config.cedar_types import NUMBERS, ArgumentPath, Type, Use
from thoughtgate_proxy.core.policy import cedar_values

_ABSENT: Final = object()
_NAMES: Final = {
    "boolean": "a boolean", "integer": "an integer", "decimal": "a number with a fraction",
    "string": "a string", "list": "a list", "record": "an object", "null": "null",
    "number": "a number that Cedar cannot hold",
}  # fmt: skip
_MANY: Final = {
    "boolean": "booleans", "integer": "integers", "decimal": "numbers with a fraction",
    "string": "strings",
}  # fmt: skip
# Cedar's own words about the types; it cannot have erred about another one.
_EXPECTED: Final = {
    Type.BOOLEAN: "expected bool", Type.INTEGER: "expected long", Type.STRING: "expected string",
    Type.DECIMAL: "expected decimal", Type.LIST: "expected set", Type.RECORD: "[record",
}  # fmt: skip


def mismatch(uses: Iterable[Use], arguments: Mapping[str, Any], said: str) -> str | None:
    """What Cedar's error `said` is about: the path, what was expected there and what was found.

    None if the values are of the types that `uses` need, as far as they are there.
    """
    found: list[tuple[Use, str]] = []
    for use in uses:
        value = _value(use.path.keys, arguments)
        why = None if value is _ABSENT else _wrong(use, value, arguments)
        if why is not None:
            found.append((use, why))
    # Several may be wrong, of which Cedar met one.
    for use, why in found:
        if not isinstance(use.type, Type) or use.each or _EXPECTED.get(use.type, "") in said:
            return why
    return found[0][1] if found else None


def _wrong(use: Use, value: Any, arguments: Mapping[str, Any]) -> str | None:
    path, kind = use.path, cedar_values.kind(value)
    if isinstance(use.type, ArgumentPath):
        return _differs(use, use.type, value, arguments)
    if use.each:
        if not isinstance(value, list):
            return _words(path, kind, f"a list of {_MANY[use.type]}")
        kinds = [cedar_values.kind(member) for member in value]
        other = next((other for other in kinds if not _fits(path, other, use.type)), None)
        if other is None:
            return None
        return f"`resource.{path}` holds {_NAMES[other]}, expected {_MANY[use.type]} alone"
    if path.root == NUMBERS and kind in ("integer", "decimal", "number"):
        if use.type is not Type.DECIMAL:
            return _words(path, kind, _NAMES[use.type])
        if cedar_values.decimals(value) is None:
            return f"`resource.{path}` is a number that no decimal holds exactly"
        return None
    if kind == use.type.value:
        return None
    text = _words(path, kind, "a number" if path.root == NUMBERS else _NAMES[use.type])
    if {kind, use.type.value} <= {"integer", "decimal", "number"}:
        numbers = ArgumentPath(NUMBERS, path.keys)
        text += f'; a policy for both compares `resource.{numbers}` with `decimal("1.0")`'
    return text


def _differs(use: Use, other: ArgumentPath, value: Any, arguments: Mapping[str, Any]) -> str | None:
    beside = _value(other.keys, arguments)
    if beside is _ABSENT:
        return None
    if use.each:
        if not isinstance(value, list):
            return _words(use.path, cedar_values.kind(value), "a list")
        alike = all(cedar_values.kinds(member) == cedar_values.kinds(beside) for member in value)
    else:
        alike = cedar_values.kinds(value) == cedar_values.kinds(beside)
    return None if alike else f"`resource.{use.path}` and `resource.{other}` are of two types"


def _fits(path: ArgumentPath, kind: str, wanted: Type) -> bool:
    return kind == wanted.value or (path.root == NUMBERS and kind == "integer")


def _words(path: ArgumentPath, kind: str, expected: str) -> str:
    return f"`resource.{path}` is {_NAMES[kind]}, expected {expected}"


def _value(keys: Iterable[str], arguments: Any) -> Any:
    value = arguments
    for key in keys:
        if not isinstance(value, Mapping) or key not in value:
            return _ABSENT
        value = value[key]
    return value
