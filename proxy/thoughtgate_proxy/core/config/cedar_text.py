"""A Cedar text cut into its policies, so that a mistake can be said with its line.

cedarpy 4.12.2 gives one error for a whole text, without a position, and dies by a segmentation
fault on deep nesting (650 parentheses, or a chain of 16,000 operators, on a stack of 8 MiB). So
each policy is looked at and parsed alone.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from thoughtgate_proxy.core.config.mistakes import Mark

# Strings and comments as Cedar's own lexer has them: a comment ends at CR or LF.
_TOKEN = re.compile(
    r"""(?P<comment>//[^\n\r]*)
    |(?P<string>"(?:\\.|[^"\\])*")
    |(?P<word>[?@]?[A-Za-z_][A-Za-z0-9_]*)
    |(?P<number>[0-9]+)
    |(?P<sign>::|==|!=|<=|>=|&&|\|\||\S)""",
    re.DOTALL | re.VERBOSE,
)
# A tenth of what crashed on 8 MiB, as a thread may have less.
MAX_NESTING = 64
MAX_TOKENS = 8_000
_ENDS_TOO_EARLY = "unexpected end of input"


@dataclass(frozen=True, slots=True)
class Token:
    """One token and where it starts and ends in its text."""

    text: str
    kind: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Statement:
    """One policy as it stands, from its first token to its `;`; `start` is its offset."""

    text: str
    start: int
    tokens: tuple[Token, ...]

    @property
    def head(self) -> str:
        """Annotations, effect and scope, as a policy without conditions."""
        for token in self.tokens:
            if token.kind == "word" and token.text in {"when", "unless"}:
                return self.text[: token.start] + ";"
        return self.text

    @property
    def too_big(self) -> str | None:
        """Why Cedar must not even be asked."""
        if len(self.tokens) > MAX_TOKENS:
            return f"the policy has {len(self.tokens)} tokens; allowed: at most {MAX_TOKENS}"
        return too_deep(self.tokens, "([{", ")]}")


def too_deep(
    tokens: Iterable[Token], opening: str, closing: str, most: int = MAX_NESTING
) -> str | None:
    """Why Cedar must not be asked, as to its brackets alone."""
    depth = deepest = 0
    for token in tokens:
        if token.kind == "sign":
            depth += (token.text in opening) - (token.text in closing)
            deepest = max(deepest, depth)
    if deepest > most:
        return f"brackets nest {deepest} deep; allowed: at most {most}"
    return None


def tokens(text: str) -> Iterator[Token]:
    """All tokens but comments. What is no token of Cedar's comes as a sign."""
    for match in _TOKEN.finditer(text):
        if match.lastgroup and match.lastgroup != "comment":
            yield Token(match[0], match.lastgroup, match.start(), match.end())


def statements(text: str) -> Iterator[Statement]:
    """The policies of `text`; `;` ends one and stands nowhere else in Cedar's grammar."""
    held: list[Token] = []
    for token in tokens(text):
        held.append(token)
        if token.text == ";":
            yield _statement(text, held)
            held = []
    if held:
        yield _statement(text, held)


def _statement(text: str, held: list[Token]) -> Statement:
    start, end = held[0].start, held[-1].end
    moved = tuple(Token(t.text, t.kind, t.start - start, t.end - start) for t in held)
    return Statement(text[start:end], start, moved)


def culprit(statement: Statement, error: str, parse: Callable[[str], object]) -> int:
    """The offset in the statement that Cedar's `error` is about, else 0.

    `parse` raises ValueError. A text cut off before the wrong token is whole or only incomplete,
    so the first token with which it is neither is the wrong one.
    """
    if error.startswith(_ENDS_TOO_EARLY) and statement.tokens:
        return statement.tokens[-1].start
    if error.startswith(("unexpected token", "invalid token")):
        low, high = 0, len(statement.tokens)
        while low + 1 < high:
            middle = (low + high) // 2
            if _good_so_far(statement.text[: statement.tokens[middle - 1].end], parse):
                low = middle
            else:
                high = middle
        return statement.tokens[high - 1].start
    for word in re.findall(r"`([^`]+)`", error):
        for token in statement.tokens:
            if word in (token.text, token.text.lstrip("@")) or (
                token.kind == "string" and word in token.text
            ):
                return token.start
    return 0


def _good_so_far(text: str, parse: Callable[[str], object]) -> bool:
    try:
        parse(text)
    except ValueError as error:
        return str(error).endswith(_ENDS_TOO_EARLY)
    return True


def mark_at(text: str, offset: int) -> Mark:
    """The position of `offset` in `text`, from line 1 and column 1."""
    return Mark(text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset))
