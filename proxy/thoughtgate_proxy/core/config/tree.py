"""YAML text to a tree of nodes that know their lines; nothing is resolved silently.

Made from the parser's events, as the safe loader alone keeps the last of two equal keys, resolves
aliases (a file of 1 KB can stand for gigabytes) and turns `no` into False.
"""

import re
from dataclasses import dataclass
from typing import NoReturn

import yaml

from thoughtgate_proxy.core.config.mistakes import Findings, Mark, Place, found

try:
    from yaml import CSafeLoader as _Loader
except ImportError:  # PyYAML built without libyaml; to mypy the two are no kin
    from yaml import SafeLoader as _Loader  # type: ignore[assignment]

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
MAX_NODES = 100_000
REFUSED = "refused"
"""The kind of a scalar about which a mistake has been noted already."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """`kind`: what YAML 1.1 takes the text for: str, bool, int, float, null, timestamp, ...

    `block`: written after a `|`, so its lines are lines of the file.
    """

    text: str
    kind: str
    mark: Mark
    block: bool = False


@dataclass(frozen=True, slots=True)
class Sequence:
    items: tuple["Node", ...]
    mark: Mark


@dataclass(frozen=True, slots=True)
class Mapping:
    """Keys as written, each once."""

    entries: dict[str, tuple[Scalar, "Node"]]
    mark: Mark


Node = Scalar | Sequence | Mapping


class _StopError(Exception):
    """Reading cannot go on; the mistake has been noted."""


def parse(data: bytes, findings: Findings) -> Node | None:
    """The one document in `data`, or None after noting why there is none."""
    try:
        return _Composer(_decoded(data, findings), findings).document()
    except _StopError:
        return None


def _decoded(data: bytes, findings: Findings) -> str:
    if len(data) > MAX_BYTES:
        findings.mistake((), f"{len(data)} bytes; a configuration has at most {MAX_BYTES}")
        raise _StopError
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        byte = data[error.start]
        findings.mistake((), f"byte `0x{byte:02x}` is not UTF-8", Mark(line, column))
        raise _StopError from None
    # What YAML calls printable; libyaml would name an offset instead of a line.
    if bad := re.search(
        r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", text
    ):
        line = text.count("\n", 0, bad.start()) + 1
        column = bad.start() - text.rfind("\n", 0, bad.start())
        findings.mistake(
            (), f"the control character {found(bad[0])} is not allowed", Mark(line, column)
        )
        raise _StopError
    return text


class _Composer:
    def __init__(self, text: str, findings: Findings) -> None:
        self._loader = _Loader(text)
        self._findings = findings
        self._nodes = 0

    def document(self) -> Node:
        self._next()  # the stream's start
        if isinstance(self._next(), yaml.StreamEndEvent):
            self._stop((), "the file is empty; it starts with `schema: 1`", None)
        node = self._node(self._next(), (), 0)
        self._next()  # the document's end
        if not isinstance(event := self._next(), yaml.StreamEndEvent):
            self._stop((), "a second document starts here; one is allowed", _mark(event.start_mark))
        return node

    def _next(self) -> yaml.Event:
        try:
            event = self._loader.get_event()
        except yaml.MarkedYAMLError as error:
            context = f" ({error.context})" if error.context else ""
            hint = "; indent with spaces, not tabs" if "start any token" in str(error) else ""
            mark = _mark(error.problem_mark or error.context_mark)
            self._stop((), f"not YAML: {error.problem}{context}{hint}", mark)
        except yaml.YAMLError as error:
            self._stop((), f"not YAML: {error}", None)
        if event is None:  # only after the stream's end, where nothing asks
            self._stop((), "the text ends too early", None)
        return event

    def _stop(self, place: Place, message: str, mark: Mark | None) -> NoReturn:
        self._findings.mistake(place, message, mark, "not YAML as it is read here")
        raise _StopError

    def _node(self, event: yaml.Event, place: Place, depth: int) -> Node:
        mark = _mark(event.start_mark)
        self._findings.marks[place] = mark
        if depth > MAX_DEPTH:
            self._stop(place, f"nested deeper than {MAX_DEPTH} levels", mark)
        self._nodes += 1
        if self._nodes > MAX_NODES:
            self._stop(place, f"more than {MAX_NODES} values", mark)
        refused = self._refusal(event)
        if refused:
            self._findings.mistake(place, refused, mark)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(place, depth, mark)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(place, depth, mark)
        if isinstance(event, yaml.ScalarEvent) and not refused:
            return self._scalar(event)
        return Scalar("", REFUSED, mark)

    def _refusal(self, event: yaml.Event) -> str | None:
        if isinstance(event, yaml.AliasEvent):
            return f"the alias `*{event.anchor}` is not allowed; write the value out"
        if anchor := getattr(event, "anchor", None):
            return f"the anchor `&{anchor}` is not allowed; leave it out"
        if tag := getattr(event, "tag", None):
            return f"the tag {found(tag)} is not allowed; leave it out"
        return None

    def _scalar(self, event: yaml.ScalarEvent) -> Scalar:
        kind = "str"
        if event.implicit[0]:  # plain, so YAML guesses what it is
            # PyYAML's stubs leave this method without types.
            tag = self._loader.resolve(yaml.ScalarNode, event.value, (True, False))  # type: ignore[no-untyped-call]
            kind = str(tag).removeprefix("tag:yaml.org,2002:")
        return Scalar(event.value, kind, _mark(event.start_mark), block=event.style == "|")

    def _sequence(self, place: Place, depth: int, mark: Mark) -> Sequence:
        items: list[Node] = []
        while not isinstance(event := self._next(), yaml.SequenceEndEvent):
            items.append(self._node(event, (*place, len(items)), depth + 1))
        return Sequence(tuple(items), mark)

    def _mapping(self, place: Place, depth: int, mark: Mark) -> Mapping:
        entries: dict[str, tuple[Scalar, Node]] = {}
        while not isinstance(event := self._next(), yaml.MappingEndEvent):
            at = _mark(event.start_mark)
            if not isinstance(event, yaml.ScalarEvent):
                self._stop(place, "found a key that is no plain text", at)
            key = self._scalar(event)
            if refused := self._refusal(event):
                self._findings.mistake((*place, key.text), refused, at)
            again = key.text in entries
            value = self._node(self._next(), (*place, key.text), depth + 1)
            if again:
                first = entries[key.text][0].mark.line
                self._findings.mistake(
                    (*place, key.text), f"the key stands twice: already in line {first}", at
                )
            else:
                entries[key.text] = (key, value)
        return Mapping(entries, mark)


def _mark(mark: object) -> Mark:
    return Mark(getattr(mark, "line", 0) + 1, getattr(mark, "column", 0) + 1)
