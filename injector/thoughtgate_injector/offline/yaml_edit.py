"""Manifests as text: read into documents, and written back with as little change as can be.

A document that is not changed keeps every byte. One that is changed goes through ruamel.yaml, which
keeps comments, key order and quotes; lines that it would only write in another way stay as they
were. So taking out what was put in gives the same text again.
"""

import copy
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import yaml
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import CommentMark, YAMLError
from ruamel.yaml.events import AliasEvent, DocumentEndEvent, DocumentStartEvent
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, SingleQuotedScalarString

from thoughtgate_injector.core.patch import Add, Operation, apply, steps
from thoughtgate_injector.core.refusal import Refusal, refused, shown
from thoughtgate_injector.offline.kept_lines import kept


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file: `before + body + after` is its text, `plain` its decoded value."""

    before: str
    body: str
    after: str
    plain: Any
    aliases: bool = False
    json: bool = False

    def text(self) -> str:
        return self.before + self.body + self.after

    def changed(self, operations: Sequence[Operation]) -> str:
        """Give the text with the operations done; without any it is the same to the byte."""
        if not operations:
            return self.text()
        wanted = copy.deepcopy(self.plain)
        apply(wanted, copy.deepcopy(operations))
        if self.json:
            return self.before + _json(wanted, self.body) + self.after
        for text in self._candidates(operations):
            if _says(text, wanted):
                return self.before + text + self.after
        # INVARIANT: what is printed is what was decided. Comments come second to that.
        text = yaml.safe_dump(wanted, sort_keys=False, width=2**31)
        return self.before + text + self.after

    def _candidates(self, operations: Sequence[Operation]) -> Iterator[str]:
        """Give the changed text, the one that keeps most of the old one first."""
        body = self.body.replace("\r\n", "\n")
        tree = _yaml().load(body)
        layout = _Layout.of(tree)
        unchanged = _dumped(tree, layout)
        if self.aliases:
            tree = _expanded(tree)
        for operation in operations:
            if operation["op"] == "add":
                _make_room(tree, operation)
                apply(tree, [_written(tree, operation)])
            else:
                apply(tree, [operation])
        changed = _dumped(tree, layout)
        for text in (kept(body, unchanged, changed), changed):
            yield text.replace("\n", "\r\n") if "\r\n" in self.body else text


def read(text: str) -> tuple[Document, ...] | Refusal:
    """Split a file into its documents; what is neither YAML nor JSON is refused."""
    if text.lstrip(_BLANK).startswith("{"):
        # JSON first: its tabs are no YAML to ruamel.yaml.
        try:
            return tuple(_json_documents(text))
        except _DuplicateKeyError as error:
            return refused(f"the input is no JSON that can be trusted: {error}")
        except (ValueError, RecursionError):
            pass  # YAML in flow style
    try:
        return tuple(_documents(text))
    except YAMLError as error:
        return refused(f"the input is no YAML: {' '.join(str(error).split())}")
    except (ValueError, RecursionError, AttributeError, TypeError) as error:
        # ruamel.yaml fails in its own ways on what stands where no such thing may stand.
        return refused(f"the input is no YAML: {shown(error)}")


_BLANK: Final = "\ufeff \t\r\n"


def _json_documents(text: str) -> Iterator[Document]:
    """Take apart one JSON document after the other, as kubectl does."""
    decoder = json.JSONDecoder(object_pairs_hook=_without_duplicates)
    start, end = 0, len(text.rstrip(_BLANK))
    while start < end:
        body = len(text) - len(text[start:].lstrip(_BLANK))
        plain, after = decoder.raw_decode(text, body)
        last = len(text) if after >= end else after
        yield Document(text[start:body], text[body:after], text[after:last], plain, json=True)
        start = last


def _json(value: object, like: str) -> str:
    """Write JSON with the indentation of the text that it takes the place of."""
    first = re.match(r"[{\[][ \t]*\r?\n([ \t]+)", like)
    indent = first[1] if first else None
    separators = None if indent else (",", ": " if re.match(r'\{"[^"]*": ', like) else ":")
    if separators == (",", ": ") and ", " in like:
        separators = (", ", ": ")
    text = json.dumps(value, indent=indent, separators=separators, ensure_ascii=False)
    return text.replace("\n", "\r\n") if "\r\n" in like else text


def _documents(text: str) -> Iterator[Document]:
    marks = list(_marks(text))
    for index, mark in enumerate(marks):
        end = marks[index + 1].start if index + 1 < len(marks) else len(text)
        start = 0 if index == 0 else mark.start
        body = text[mark.body : mark.body_end]
        yield Document(
            text[start : mark.body],
            body,
            text[mark.body_end : end],
            plain(_yaml().load(body)),
            aliases=mark.aliases,
        )


@dataclass(slots=True)
class _Mark:
    start: int
    body: int
    body_end: int = 0
    aliases: bool = False


def _marks(text: str) -> Iterator[_Mark]:
    mark = _Mark(0, 0)
    for event in YAML(typ="safe", pure=True).parse(text):
        if isinstance(event, DocumentStartEvent):
            start = event.start_mark.index
            mark = _Mark(start, _after_marker(text, event.end_mark.index) if event.explicit else 0)
            if not event.explicit:
                mark.body = start
        elif isinstance(event, AliasEvent):
            mark.aliases = True
        elif isinstance(event, DocumentEndEvent):
            mark.body_end = event.start_mark.index
            yield mark


def _after_marker(text: str, index: int) -> int:
    """Give the place after `---`, and after its line where that holds no more than a comment."""
    end = text.find("\n", index)
    rest = text[index : len(text) if end < 0 else end].strip()
    return end + 1 if end >= 0 and (not rest or rest.startswith("#")) else index


class _DuplicateKeyError(ValueError):
    """A key stands twice in one JSON object; the last would silently win."""


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise _DuplicateKeyError(f"the key {shown(key)} stands twice in one object")
        found[key] = value
    return found


def plain(node: object) -> Any:
    """Give the value of a ruamel.yaml tree without its dress."""
    if isinstance(node, Mapping):
        return {plain(key): plain(value) for key, value in node.items()}
    if isinstance(node, list):
        return [plain(value) for value in node]
    if node is None or isinstance(node, bool):
        return node
    for kind in (int, float, str):
        if isinstance(node, kind):
            return kind(node)
    return str(node)  # a timestamp, which JSON has as a string


def _dumped(tree: Any, layout: "_Layout") -> str:
    out = io.StringIO()
    _yaml(layout).dump(tree, out)
    return out.getvalue()


def _says(text: str, wanted: object) -> bool:
    try:
        return bool(plain(_yaml().load(text)) == wanted)
    except YAMLError:
        return False


def _expanded(node: Any) -> Any:
    """Copy a tree so that no part stands in two places: an alias is changed for one alone."""
    if isinstance(node, CommentedMap):
        mapping = CommentedMap()
        for key, value in node.items():
            mapping[key] = _expanded(value)
        return _dressed(mapping, node)
    if isinstance(node, CommentedSeq):
        sequence = CommentedSeq()
        for value in node:
            sequence.append(_expanded(value))
        return _dressed(sequence, node)
    return node


def _dressed(new: Any, node: Any) -> Any:
    new.ca.comment, new.ca.end = node.ca.comment, node.ca.end
    new.ca.items.update(node.ca.items)
    if node.fa.flow_style():
        new.fa.set_flow_style()
    new.lc.line, new.lc.col = node.lc.line, node.lc.col
    return new


def _make_room(tree: Any, operation: Add) -> None:
    """Put a new key before the last one of a mapping, where comment lines come after that.

    ruamel.yaml has such lines as part of the last key: what is added behind it comes behind them.
    """
    parents, key = steps(operation)
    for part in parents:
        tree = tree[int(part)] if isinstance(tree, list) else tree[part]
    if isinstance(tree, CommentedMap) and tree and key not in tree and _ends_in_lines(tree):
        tree.insert(len(tree) - 1, key, None)


def _ends_in_lines(node: object) -> bool:
    """Tell whether whole lines of comment, or empty ones, come after a block."""
    if not isinstance(node, CommentedMap | CommentedSeq) or not node:
        return False
    last = len(node) - 1 if isinstance(node, CommentedSeq) else next(reversed(node))
    tokens = [token for token in node.ca.items.get(last) or () if hasattr(token, "value")]
    return any("\n" in token.value.rstrip("\n") for token in tokens) or _ends_in_lines(node[last])


def _written(tree: Any, operation: Add) -> Add:
    parents, last = steps(operation)
    for part in parents:
        tree = tree[int(part)] if isinstance(tree, list) else tree[part]
    before, value = tree.get(last) if isinstance(tree, CommentedMap) else None, operation["value"]
    if isinstance(before, str) and isinstance(value, str):
        # In the quotes of the text whose place it takes, or in none; the comment moves along.
        for token in tree.ca.items.get(last) or ():
            if hasattr(token, "start_mark"):
                column = token.start_mark.column + len(value) - len(before)
                token.start_mark = CommentMark(column)
        return Add(op="add", path=operation["path"], value=type(before)(value))
    return Add(op="add", path=operation["path"], value=_quoted(value, quote=True))


# Strings that may look like a number or a word to a YAML 1.1 reader, such as kubectl's.
_FREE_TEXT = ("value", "annotations")


def _quoted(value: object, *, quote: bool) -> object:
    if isinstance(value, dict):
        tree = CommentedMap()
        for key, inner in value.items():
            tree[key] = _quoted(inner, quote=key in _FREE_TEXT or "/" in key)
        return tree
    if isinstance(value, list):
        return CommentedSeq(_quoted(inner, quote=quote) for inner in value)
    if quote and isinstance(value, str):
        return SingleQuotedScalarString(value) if '"' in value else DoubleQuotedScalarString(value)
    return value


@dataclass(frozen=True, slots=True)
class _Layout:
    """How far a file indents, in columns, as ruamel.yaml counts it."""

    mapping: int = 2
    sequence: int = 2
    offset: int = 0

    @classmethod
    def of(cls, tree: object) -> "_Layout":
        """Take it from the first mapping and the first sequence of block style in the tree."""
        found = _Seen()
        found.look(tree)
        offset = 0 if found.offset is None else found.offset
        return cls(
            mapping=found.mapping or 2,
            sequence=max(found.sequence or 0, offset + 2),
            offset=offset,
        )


@dataclass(slots=True)
class _Seen:
    mapping: int | None = None
    sequence: int | None = None
    offset: int | None = None
    _depth: int = field(default=0)

    def look(self, node: object) -> None:
        if isinstance(node, CommentedMap) and not node.fa.flow_style():
            for value in node.values():
                self._child(node, value)
                self.look(value)
        elif isinstance(node, CommentedSeq) and not node.fa.flow_style():
            for value in node:
                self.look(value)

    def _child(self, node: CommentedMap, value: object) -> None:
        if not isinstance(value, CommentedMap | CommentedSeq) or value.fa.flow_style() or not value:
            return
        column, inner = node.lc.col, value.lc.col
        if column is None or inner is None:
            return
        if isinstance(value, CommentedMap):
            self.mapping = self.mapping or max(inner - column, 1)
        elif self.offset is None:
            self.offset = max(inner - column, 0)
            first = value[0]
            if isinstance(first, CommentedMap) and not first.fa.flow_style() and first.lc.col:
                self.sequence = first.lc.col - column


def _yaml(layout: _Layout | None = None) -> Any:
    loader = YAML(typ="rt", pure=True)
    loader.preserve_quotes = True
    loader.width = 2**31  # a folded line would not be the one that stood there
    if layout is not None:
        loader.indent(mapping=layout.mapping, sequence=layout.sequence, offset=layout.offset)
    return loader
