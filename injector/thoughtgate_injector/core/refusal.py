"""A refusal: why a pod, or a settings file, is not accepted; and how input is shown in it."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

_SHOWN: Final = 80


@dataclass(frozen=True, slots=True)
class Refusal:
    """At least one reason; each is one lower-case line: what was found, and what is allowed."""

    reasons: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.reasons:
            raise ValueError("a refusal needs a reason")

    def __str__(self) -> str:
        return "; ".join(self.reasons)


def refused(reason: str) -> Refusal:
    """Make a refusal with one reason."""
    return Refusal((reason,))


def shown(value: object) -> str:
    """Give `value` in backticks on one line, at most 80 characters of it.

    What a stranger wrote must not break the line that it is quoted in.
    """
    if isinstance(value, bool):
        value = "true" if value else "false"
    text = "null" if value is None else str(value)
    text = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    line = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return "`" + line.replace("`", "'") + "`"


def listed(values: Iterable[str]) -> str:
    """Give the values in backticks, with commas between them."""
    return ", ".join(shown(value) for value in values)
