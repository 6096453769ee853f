"""A call as a human may see it: every value as it will be sent, and nothing that can deceive.

The text is JSON. Numbers stand as the client wrote them. What is invisible, or changes how the text
around it is seen, is written as an escape, so that no argument can forge a line, reverse a word or
hide a part of itself. Nothing is ever cut.
"""

import json
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from thoughtgate_proxy.core.policy.call_digest import bound_params
from thoughtgate_proxy.core.protocol import strict_json
from thoughtgate_proxy.core.protocol.confusables import fold
from thoughtgate_proxy.core.protocol.strict_json import NumberText

REDACTED: Final = '"[redacted]"'
"""Stands for a value that is not shown. No argument can look like it: see `_string`."""

_LINE = 88
# Deeper, lines are not indented any further: a small body must not make a huge text of blanks.
_MOST_INDENTED = 8
# Unicode shows these as nothing, or as a blank, although their category is that of a letter, a
# symbol or a mark (Default_Ignorable_Code_Point, variation selectors, Hangul fillers, the empty
# Braille pattern, the null note head).
_BLANK_RANGES = (
    (0x034F, 0x034F), (0x115F, 0x1160), (0x17B4, 0x17B5), (0x180B, 0x180F), (0x2800, 0x2800),
    (0x3164, 0x3164), (0xFE00, 0xFE0F), (0xFFA0, 0xFFA0),
    (0xFFFC, 0xFFFC), (0x1D159, 0x1D159), (0xE0000, 0xE0FFF),
)  # fmt: skip
# More marks on one letter than any script needs would run over the lines above and below.
_MOST_MARKS = 4


@dataclass(frozen=True, slots=True)
class SafeText:
    """A call for human eyes.

    `arguments` is the text of its arguments ("" if it has none); `others` that of the other params
    that count, in an object ("" if there are none); `redacted` the configured paths that hid
    something.
    """

    arguments: str
    others: str = ""
    redacted: tuple[str, ...] = ()


def call(body: bytes, redact: Sequence[str] = (), *, compact: bool = False) -> SafeText:
    """The arguments of the JSON-RPC request `body`, over several lines unless `compact`.

    `redact` are dotted paths into the arguments: `card.number`. A list on the way is passed
    through, so that `cards.number` hides the number of every card, and `cards.0.number` that of
    the first. In `inputResponses` they count as in `responses`. Case and look-alikes do not tell
    keys apart here, since a lenient server may take them for one, and what is called secret must
    not be shown for its spelling.
    Raises `UnreadableJSON`, and `ValueError` if `body` is no request.
    """
    message = strict_json.as_written(body)
    if not isinstance(message, dict):
        raise ValueError("the body is no JSON-RPC request")  # noqa: TRY004  a value from outside
    params = bound_params(message)
    # Not all of it is bound, and all of it was the client's to write.
    if meta := (message.get("params") or {}).get("_meta"):
        params["_meta"] = meta
    # The name stands elsewhere, and is part of what is asked.
    others = {k: v for k, v in params.items() if k not in ("arguments", "name", "uri")}
    renderer = _Renderer(redact, compact)
    arguments = params.get("arguments")
    text = "" if arguments is None else renderer.text(arguments)
    return SafeText(text, renderer.params(others) if others else "", tuple(renderer.redacted))


def responses(body: bytes, redact: Sequence[str] = ()) -> SafeText:
    """The `inputResponses` in `body` as arguments, in one line; `redact` as in `call`.

    A path counts from the top, within each response, and within each response's `content`.
    Raises `UnreadableJSON`.
    """
    renderer = _Renderer(redact, compact=True)
    shown = renderer.responses(strict_json.as_written(body))
    return SafeText(shown, redacted=tuple(renderer.redacted))


def text(value: str) -> str:
    """One line of plain text with the same escapes, as for a tool's name; quotes stay."""
    return _escaped(value)


_Paths = tuple[tuple[str, str], ...]
"""Configured paths, each with what is left of it, folded, below the value that is shown."""


class _Renderer:
    def __init__(self, redact: Iterable[str], compact: bool) -> None:
        self._compact = compact
        self._paths = tuple((path, fold(path)) for path in redact)
        self._in_response = (*self._paths, *((p, f"content.{rest}") for p, rest in self._paths))
        self.redacted: dict[str, None] = {}

    def text(self, value: Any) -> str:
        return self._value(value, self._paths, 0)

    def params(self, params: dict[str, Any]) -> str:
        members = []
        for key, value in params.items():
            more = (self._paths, self._in_response) if key == "inputResponses" else ()
            members.append(f"{_key(key)}: {self._member(key, value, self._paths, 0, *more)}")
        return self._layout("{", members, "}", 0, params.values())

    def responses(self, value: Any) -> str:
        return self._value(value, self._paths, 0, self._in_response)

    def _value(self, value: Any, paths: _Paths, level: int, in_members: _Paths = ()) -> str:
        match value:
            case NumberText(number):
                return number
            case str():
                return _string(value)
            case dict():
                members = [
                    f"{_key(k)}: {self._member(k, v, paths, level, in_members)}"
                    for k, v in value.items()
                ]
                return self._layout("{", members, "}", level, value.values())
            case list():
                items = [
                    self._item(i, v, (*paths, *in_members), level) for i, v in enumerate(value)
                ]
                return self._layout("[", items, "]", level, value)
            case _:
                return json.dumps(value)

    def _member(
        self,
        key: str,
        value: Any,
        paths: _Paths,
        level: int,
        within_too: _Paths = (),
        in_members: _Paths = (),
    ) -> str:
        # A key with dots in it meets the same paths as nested keys do.
        name, within = fold(key), []
        for path, rest in paths:
            if rest == name:
                self.redacted[path] = None
                return REDACTED
            if rest.startswith(f"{name}."):
                within.append((path, rest[len(name) + 1 :]))
        return self._value(value, (*within, *within_too), level + 1, in_members)

    def _item(self, index: int, value: Any, paths: _Paths, level: int) -> str:
        if not paths:
            return self._value(value, (), level + 1)
        within = list(paths)
        for path, rest in paths:
            first, _, then = rest.partition(".")
            if first == str(index):
                if not then:
                    self.redacted[path] = None
                    return REDACTED
                within.append((path, then))
        return self._value(value, tuple(within), level + 1)

    def _layout(
        self, opening: str, parts: list[str], closing: str, level: int, values: Iterable[Any]
    ) -> str:
        if not parts:
            return opening + closing
        if self._compact:
            return f"{opening}{', '.join(parts)}{closing}"
        # Letters that run from right to left change the order of what shares a line with them.
        fits = sum(map(len, parts)) + 2 * len(parts) <= _LINE and all(map(str.isascii, parts))
        if fits and not any(isinstance(value, dict | list) and value for value in values):
            return f"{opening}{', '.join(parts)}{closing}"
        outer, inner = (f"\n{'  ' * min(at, _MOST_INDENTED)}" for at in (level, level + 1))
        return f"{opening}{inner}{f',{inner}'.join(parts)}{outer}{closing}"


def _string(value: str) -> str:
    quoted = json.dumps(value, ensure_ascii=False)
    if quoted == REDACTED:
        # An argument may say so of itself, and is sent as it is: that must not look like ours.
        return f'"\\u005b{quoted[2:]}'
    return _escaped(quoted)


def _key(key: str) -> str:
    return _escaped(json.dumps(key, ensure_ascii=False))


def _escaped(line: str) -> str:
    if line.isascii():
        return line if line.isprintable() else line.translate(_ESCAPES)
    line = line.translate(_ESCAPES)
    return line if line.isascii() else _with_few_marks(line)


def _with_few_marks(line: str) -> str:
    marks, out = _MOST_MARKS, []
    for character in line:
        if character.isascii() or not unicodedata.category(character).startswith("M"):
            # Nothing may be put upon a quote, or upon another character of the text around it.
            marks = _MOST_MARKS if character in _AROUND else 0
        elif marks >= _MOST_MARKS:
            character = _escape(ord(character))  # noqa: PLW2901  what is shown in its place
        else:
            marks += 1
        out.append(character)
    return "".join(out)


_AROUND = frozenset('"\\{}[],: ')


class _Escapes(dict[int, str | int]):
    """What stands for a code point, found when it is met: itself, or its escape."""

    def __missing__(self, code: int) -> str | int:
        if not chr(code).isprintable() or any(a <= code <= b for a, b in _BLANK_RANGES):
            return _escape(code)
        return code


def _escape(code: int) -> str:
    return json.dumps(chr(code))[1:-1] if code > 0x7E else f"\\u{code:04x}"


_ESCAPES = _Escapes({code: code for code in range(0x20, 0x7F)})
