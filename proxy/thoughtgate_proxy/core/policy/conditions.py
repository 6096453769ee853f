"""Whether a rule's `when` holds: true, false, or undecided.

A value that is missing, null or of another type than the condition's, or a number that a double
does not hold, is not taken for "does not hold", since a server may read it as one that does: "1001"
for 1001, a default for what is missing.
The engine then lets the stricter answer stand.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from thoughtgate_proxy.core.config.values import Condition
from thoughtgate_proxy.core.policy.glob import FirstMatch
from thoughtgate_proxy.core.protocol.confusables import KeyPaths

_TYPES = {str: "a text", bool: "a boolean", Decimal: "a number"}


@dataclass(frozen=True, slots=True)
class Settled:
    """Whether the conditions hold; None where that cannot be told. `why` shows no value of it."""

    holds: bool | None
    why: str = ""


_HOLDS = Settled(True)


class Conditions:
    """The `when` of one rule."""

    def __init__(self, when: Mapping[str, Condition]) -> None:
        self._tests = tuple(_Test(path, condition) for path, condition in when.items())
        self.impostor = KeyPaths(tuple(path.split(".")) for path in when).impostor
        """A key of the arguments that looks like one that is read here, and that one."""

    def settle(self, arguments: Mapping[str, Any]) -> Settled:
        """All must hold: one that is false settles it, be the others undecided or not."""
        undecided = None
        for test in self._tests:
            settled = test.settle(arguments)
            if settled.holds is False:
                return settled
            if settled.holds is None:
                undecided = undecided or settled
        return undecided or _HOLDS


class _Test:
    """The condition on the value at one path."""

    def __init__(self, path: str, condition: Condition) -> None:
        self._keys, self._path = tuple(path.split(".")), path
        self._present = condition.present
        self._type, self._tests = _tests(condition)
        self._rounded = _tests(_in_doubles(condition))[1] if self._type is Decimal else None

    def settle(self, arguments: Mapping[str, Any]) -> Settled:
        value, problem = _at(self._keys, arguments)
        if self._present is not None and self._present is not (problem is None):
            return Settled(False, f"`{self._path}` is {'not ' if self._present else ''}there")
        if self._type is None:
            return _HOLDS
        if problem is not None:
            return Settled(None, f"`{self._path}` {problem}")
        if isinstance(value, int) and not isinstance(value, bool):
            value = Decimal(value)
        number: Any = value
        if type(value) is not self._type:
            found = _found(value)
            return Settled(None, f"`{self._path}` is {found}, expected {_TYPES[self._type]}")
        failed = _failed(self._tests, value)
        if self._rounded is not None:
            # Most servers read a number as a double, so 1.00000000000000000001 may be 1 to them.
            rounded = _failed(self._rounded, float(number))
            if (failed is None) is not (rounded is None):
                return Settled(None, f"`{self._path}` is a number that servers may round")
        return _HOLDS if failed is None else Settled(False, f"`{self._path}` {failed}")


def _failed(tests: list[tuple[Any, str]], value: Any) -> str | None:
    return next((said for holds, said in tests if not holds(value)), None)


def _in_doubles(condition: Condition) -> Condition:
    """The same with each number as servers read it that know nothing better."""
    changed: dict[str, Any] = {
        name: float(bound)
        for name in ("equals", "over", "under", "at_least", "at_most")
        if (bound := getattr(condition, name)) is not None
    }
    return replace(condition, **changed, one_of=tuple(map(float, condition.one_of)))


def _tests(condition: Condition) -> tuple[type | None, list[tuple[Any, str]]]:
    """The type that all of them need (None: none does), each test, and what its failure says."""
    tests: list[tuple[Any, str]] = []
    kind: type | None = None
    if (wanted := condition.equals) is not None:
        kind = type(wanted)
        tests.append((lambda value: value == wanted, "is not what it must equal"))
    if members := condition.one_of:
        kind = type(members[0])
        tests.append((lambda value: value in members, "is none of those that it may be"))
    for name, least in (("over", condition.over), ("at_least", condition.at_least)):
        if least is not None:
            kind = Decimal
            tests.append((_more(least, name == "at_least"), f"is not {_spoken(name)} {least}"))
    for name, most in (("under", condition.under), ("at_most", condition.at_most)):
        if most is not None:
            kind = Decimal
            tests.append((_less(most, name == "at_most"), f"is not {_spoken(name)} {most}"))
    if condition.matches is not None:
        kind, match = str, FirstMatch([(0, condition.matches)])
        tests.append((lambda value: match(value) is not None, "does not match its glob"))
    return kind, tests


def _more(than: Any, equal: bool) -> Any:
    return lambda value: value > than or (equal and value == than)


def _less(than: Any, equal: bool) -> Any:
    return lambda value: value < than or (equal and value == than)


def _spoken(name: str) -> str:
    return name.replace("_", " ")


def _at(keys: tuple[str, ...], arguments: Mapping[str, Any]) -> tuple[Any, str | None]:
    """The value at a path; or why there is none."""
    value: Any = arguments
    for key in keys:
        if not isinstance(value, Mapping):
            return None, f"has {_found(value)} on the way to it"
        if key not in value:
            return None, "is not there"
        value = value[key]
    return value, None


def _found(value: Any) -> str:
    match value:
        case None:
            return "null"
        case list():
            return "a list"
        case Mapping():
            return "an object"
        case Decimal():
            return "a number"
    return _TYPES.get(type(value), "a number")
