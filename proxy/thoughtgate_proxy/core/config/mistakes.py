"""Mistakes of a configuration: where, what was found, what is allowed; all, not the first."""

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from thoughtgate_proxy.core.config.values import Section

Place = tuple[str | int, ...]
"""Keys and indexes from the top of the document: `("governance", "rules", 2, "action")`."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]+")
# Of a written place: a key in brackets, or a plain one or an index.
_STEPS = re.compile(r'(?<=\[)".*"(?=\])|(?<![\[A-Za-z0-9_-])[A-Za-z0-9_-]+')
# Keys of a source whose values hold no credential. What stands elsewhere in it may be one, in the
# wrong place too.
_OPEN_KEYS = frozenset(
    {"id", "kind", "paths", "enabled", "description", "expose", "timeouts", "passthrough_methods"}
)


@dataclass(frozen=True, slots=True)
class Mark:
    """A position in a file, both counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong. As text: one line, `FILE:LINE:COLUMN: PLACE: MESSAGE`.

    The text quotes the file, and is for whoever wrote it. `secret`: what it quotes may be a
    credential. `kind` says in constant words what is wrong.
    """

    file: str
    mark: Mark | None
    place: str
    message: str
    kind: str = "not valid"
    secret: bool = False

    def __str__(self) -> str:
        return f"{self._position}{f'{self.place}: ' if self.place else ''}{self.message}"

    @property
    def logged(self) -> str:
        """The text for the log: without what may be a credential."""
        return f"{self.public} (`check` shows what was found)" if self.secret else str(self)

    @property
    def public(self) -> str:
        """The text for everybody: where it is, and its kind; nothing that somebody else wrote."""
        known = _schema_keys(Section)
        place = _STEPS.sub(lambda step: step[0] if step[0] in known else "*", self.place)
        return f"{self._position}{f'{place}: ' if place else ''}{self.kind}"

    @property
    def _position(self) -> str:
        position = f":{self.mark.line}:{self.mark.column}" if self.mark else ""
        return f"{one_line(self.file)}{position}: "


class ConfigRefused(Exception):
    """The configuration is not taken; `mistakes` holds every reason, in the file's order.

    `freezes`: for all that, it says plainly that every gated call is to be denied.
    """

    def __init__(self, mistakes: Iterable[Mistake], *, freezes: bool = False) -> None:
        self.mistakes, self.freezes = tuple(mistakes), freezes
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

    def mistake(
        self, place: Place, message: str, mark: Mark | None = None, kind: str = "not valid"
    ) -> None:
        """Note a mistake; without `mark` the nearest known position above `place` is said."""
        self._spoiled.add(place)
        self.mistakes.append(self._made(place, message, mark, kind))

    def warning(self, place: Place, message: str) -> None:
        """Note something allowed that the reader of the file should know."""
        self.warnings.append(self._made(place, message, None, "unwise"))

    def not_known(self, place: Place, message: str) -> None:
        """Note a place whose value only the pod has: a warning, and no value there to judge."""
        self.unknown = True
        self._spoiled.add(place)
        self.warning(place, message)

    def spoiled(self, *places: Place) -> bool:
        """Whether a mistake stands at or above one of the places: no value there to judge."""
        return any(place[:n] in self._spoiled for place in places for n in range(len(place) + 1))

    def _made(self, place: Place, message: str, mark: Mark | None, kind: str) -> Mistake:
        secret = any(place[:n] in self.expanded for n in range(len(place) + 1))
        if place[:1] == ("sources",) and kind not in ("missing", "unwise"):
            secret |= len(place) < 3 or place[2] not in _OPEN_KEYS
            secret &= not (kind == "unknown key" and len(place) == 3)
        for length in range(len(place), -1, -1):
            mark = mark or self.marks.get(place[:length])
        return Mistake(self.file, mark, written(place), one_line(message), kind, secret)


def _schema_keys(section: type[Section]) -> set[str]:
    """Every key that the schema names, those of the channels too."""
    keys = set(section.__struct_encode_fields__)
    return keys.union(*map(_schema_keys, section.__subclasses__()))


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
