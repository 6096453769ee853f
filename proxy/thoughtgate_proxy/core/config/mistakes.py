"""Mistakes of a configuration: where, what was found, what is allowed; all, not the first."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

Place = tuple[str | int, ...]
"""Keys and indexes from the top of the document: `("governance", "rules", 2, "action")`."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Mark:
    """A position in a file, both counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong. As text: one line, `FILE:LINE:COLUMN: PLACE: MESSAGE`."""

    file: str
    mark: Mark | None
    place: str
    message: str

    def __str__(self) -> str:
        position = f":{self.mark.line}:{self.mark.column}" if self.mark else ""
        place = f"{self.place}: " if self.place else ""
        return f"{one_line(self.file)}{position}: {place}{self.message}"


class ConfigRefused(Exception):
    """The configuration is not taken; `mistakes` holds every reason, in the file's order."""

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(map(str, self.mistakes)))


class ConfigNotKnown(Exception):
    """No mistake was found, but not all could be judged apart from the pod; `warnings` say what."""

    def __init__(self, warnings: Iterable[Mistake]) -> None:
        self.warnings = tuple(warnings)
        super().__init__("\n".join(map(str, self.warnings)))


@dataclass(slots=True)
class Findings:
    """Collects what is wrong (`mistakes`) and what is merely unwise (`warnings`) in one document.

    The reader fills `marks`, the position of every place in the document, and `expanded`, the
    places whose text named a variable. `unknown`: some place could not be judged.
    """

    file: str
    mistakes: list[Mistake] = field(default_factory=list)
    warnings: list[Mistake] = field(default_factory=list)
    marks: dict[Place, Mark] = field(default_factory=dict)
    expanded: set[Place] = field(default_factory=set)
    unknown: bool = False
    _spoiled: set[Place] = field(default_factory=set)

    def mistake(self, place: Place, message: str, mark: Mark | None = None) -> None:
        """Note a mistake; without `mark` the nearest known position above `place` is said."""
        self._spoiled.add(place)
        self.mistakes.append(self._made(place, message, mark))

    def warning(self, place: Place, message: str) -> None:
        """Note something allowed that the reader of the file should know."""
        self.warnings.append(self._made(place, message, None))

    def not_known(self, place: Place, message: str) -> None:
        """Note a place whose value only the pod has: a warning, and no value there to judge."""
        self.unknown = True
        self._spoiled.add(place)
        self.warning(place, message)

    def spoiled(self, *places: Place) -> bool:
        """Whether a mistake stands at or above one of the places: no value there to judge."""
        return any(place[:n] in self._spoiled for place in places for n in range(len(place) + 1))

    def _made(self, place: Place, message: str, mark: Mark | None) -> Mistake:
        for length in range(len(place), -1, -1):
            mark = mark or self.marks.get(place[:length])
        return Mistake(self.file, mark, written(place), one_line(message))


def written(place: Place) -> str:
    """A place as a reader writes it: `governance.rules[2].action`, `approval["a b"]`."""
    text = ""
    for step in place:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN_KEY.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += f'["{found(step)[1:-1]}"]'
    return text


def found(text: str) -> str:
    """What was found, fit to be quoted: in backticks, on one line, at most 60 characters."""
    shown = one_line(text)
    return f"`{shown}`" if len(shown) <= 60 else f"`{shown[:57]}...`"


def one_line(text: str) -> str:
    """`text` with all that does not print as \\u escapes, so that it cannot forge a line."""
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in text
    )


def listed(names: Iterable[str]) -> str:
    """What is allowed: names in backticks."""
    return ", ".join(f"`{name}`" for name in names)


def nearest(name: str, known: Iterable[str]) -> str:
    """A suggestion to end a message with, or nothing if no known name is near."""
    by_fold = {one.casefold(): one for one in known}
    near = difflib.get_close_matches(name[:64].casefold(), by_fold, n=1, cutoff=0.6)
    return f"; did you mean `{by_fold[near[0]]}`?" if near else ""
