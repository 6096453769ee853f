"""Globs over names: `*` is any run of characters, `?` one, all else is itself."""

import re
from collections.abc import Iterable


def pattern(glob: str) -> str:
    """The regular expression that matches, with `fullmatch`, the names that `glob` does.

    Each run between two `*` is found once and kept (an atomic group): the first place at which it
    fits is always good enough, and without this a name made for it could take minutes to refuse.
    """
    first, *rest = glob.split("*")
    if not rest:
        return _literal(first)
    *middle, last = rest
    found = "".join(f"(?>.*?{_literal(part)})" for part in middle if part)
    return f"{_literal(first)}{found}.*{_literal(last)}"


class FirstMatch:
    """Finds the first of many globs that matches a name, in one pass of one expression."""

    def __init__(self, globs: Iterable[tuple[int, str]]) -> None:
        """`globs` are pairs of a number, given back on a match, and a glob, in order."""
        pairs = list(globs)
        self._numbers = [number for number, _ in pairs]
        self._expression = (
            re.compile("|".join(f"({pattern(glob)})" for _, glob in pairs), re.DOTALL)
            if pairs
            else None
        )

    def __call__(self, name: str) -> int | None:
        """The number of the first glob that matches the whole of `name`."""
        if self._expression is None or (match := self._expression.fullmatch(name)) is None:
            return None
        assert match.lastindex is not None  # noqa: S101  each alternative is one group
        return self._numbers[match.lastindex - 1]


def _literal(text: str) -> str:
    return "".join("." if character == "?" else re.escape(character) for character in text)
