"""What is known of Cedar's values and operators, and what a policy that was guarded gives out."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

ARGUMENTS, NUMBERS, KINDS = "arguments", "numbers", "kinds"
RESOURCE_TEXTS: Final = ("source", "method", "tool_name")
RESOURCE: Final = (*RESOURCE_TEXTS, ARGUMENTS, NUMBERS)
PRINCIPAL: Final = ("labels", "namespace", "pod")


class Type(StrEnum):
    """What a value is to Cedar. An argument's kind in `resource.kinds` is the text."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    DECIMAL = "decimal"
    STRING = "string"
    LIST = "list"
    RECORD = "record"
    LABELS = "labels"
    ENTITY = "entity"
    OTHER = "other"
    """A value of another extension type, or one of two types."""


SCALARS = (Type.BOOLEAN, Type.INTEGER, Type.DECIMAL, Type.STRING)


@dataclass(frozen=True, slots=True)
class ArgumentPath:
    """A value below `resource.arguments`, or `resource.numbers`: the keys from there to it."""

    root: str
    keys: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ".".join((self.root, *self.keys))


@dataclass(frozen=True, slots=True)
class Use:
    """A policy needs the value at a path to be of a type, or of the type of that at another path.

    `each`: not the value itself, but whatever stands in it, as it is a list.
    """

    path: ArgumentPath
    type: Type | ArgumentPath
    each: bool = False


@dataclass(frozen=True, slots=True)
class Guarded:
    """A policy that errs where types differ.

    `reads` are the paths of arguments whose value, or presence, it asks for, `values` those whose
    value it needs as a whole; `attributes` those of the resource beside the plain texts.
    """

    text: str
    uses: tuple[Use, ...] = ()
    reads: frozenset[tuple[str, ...]] = frozenset()
    values: frozenset[tuple[str, ...]] = frozenset()
    attributes: frozenset[str] = frozenset()


class CannotGuardError(ValueError):
    """The policy cannot be rewritten; the message says why, `word` is a token near the place."""

    def __init__(self, message: str, word: str = "") -> None:
        super().__init__(message)
        self.word = word


UNARY: Final = {
    "not": (Type.BOOLEAN, Type.BOOLEAN), "neg": (Type.INTEGER, Type.INTEGER),
    "is_empty": (Type.LIST, Type.BOOLEAN), "decimal": (Type.STRING, Type.DECIMAL),
    "datetime": (Type.STRING, Type.OTHER), "duration": (Type.STRING, Type.OTHER),
    "ip": (Type.STRING, Type.OTHER), "is_ipv4": (Type.OTHER, Type.BOOLEAN),
    "is_ipv6": (Type.OTHER, Type.BOOLEAN), "is_loopback": (Type.OTHER, Type.BOOLEAN),
    "is_multicast": (Type.OTHER, Type.BOOLEAN), "to_date": (Type.OTHER, Type.OTHER),
    "to_time": (Type.OTHER, Type.OTHER), "to_milliseconds": (Type.OTHER, Type.INTEGER),
    "to_seconds": (Type.OTHER, Type.INTEGER), "to_minutes": (Type.OTHER, Type.INTEGER),
    "to_hours": (Type.OTHER, Type.INTEGER), "to_days": (Type.OTHER, Type.INTEGER),
}  # fmt: skip
"""Unary operators: the type that they need, and the one that they give."""

ERRING: Final = {
    **dict.fromkeys(("less", "less_eq", "greater", "greater_eq"), (Type.INTEGER, Type.BOOLEAN)),
    **dict.fromkeys(("add", "sub", "mul"), (Type.INTEGER, Type.INTEGER)),
    **dict.fromkeys(
        ("decimal_less_than", "decimal_less_eq", "decimal_greater", "decimal_greater_eq"),
        (Type.DECIMAL, Type.BOOLEAN),
    ),
    "is_in_range": (Type.OTHER, Type.BOOLEAN), "offset": (Type.OTHER, Type.OTHER),
    "duration_since": (Type.OTHER, Type.OTHER),
}  # fmt: skip
"""Binary operators that err by themselves on another type, in the same form."""
