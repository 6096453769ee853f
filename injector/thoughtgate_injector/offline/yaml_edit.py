"""Edits YAML where an operation says so, and nowhere else.

What is added is written at the indentation of what it joins; every other byte stays. What cannot be
edited so (an alias, an empty value) is written anew by ruamel.yaml, which keeps comments and order.
"""

import copy
import io
import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import yaml
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import CollectionNode, MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, SingleQuotedScalarString

from thoughtgate_injector.core.patch import Operation, apply, steps
from thoughtgate_injector.offline.yaml_read import round_trip, value_of, without_tabs


def edited(text: str, operations: Sequence[Operation], wanted: object, *, aliases: bool) -> str:
    """Give the text of a document with the operations done; `wanted` is its value then."""
    for changed in _candidates(text, operations, aliases=aliases):
        if _says(changed, wanted):
            return changed
    # INVARIANT: what is printed is what was decided. Comments come second to that.
    return yaml.safe_dump(wanted, sort_keys=False, width=2**31)


def _candidates(text: str, operations: Sequence[Operation], *, aliases: bool) -> Iterator[str]:
    """Give changed texts; the first keeps most of the old one."""
    layout = _Layout.of(round_trip().compose(without_tabs(text)))
    if not aliases:
        try:
            changed = _spliced(text, operations, layout)
        except (LookupError, YAMLError):
            pass
        else:
            yield changed
    tree = round_trip().load(without_tabs(text))
    _expand(tree)
    for operation in operations:
        if operation["op"] == "add":
            apply(tree, [{**operation, "value": _quoted(operation["value"], quote=True)}])
        else:
            apply(tree, [operation])
    yield _dumped(tree, layout)


def _says(text: str, wanted: object) -> bool:
    try:
        return bool(value_of(text) == wanted)
    except YAMLError:
        return False


def _dumped(tree: Any, layout: "_Layout") -> str:
    out = io.StringIO()
    writer = round_trip()
    writer.indent(layout.mapping, layout.offset + 2, layout.offset)
    writer.dump(tree, out)
    return out.getvalue()


def _expand(tree: Any) -> None:
    """Let no part of a tree stand in two places: an alias is changed for one alone."""
    pairs = tree.items() if isinstance(tree, CommentedMap) else enumerate(tree)
    for key, value in list(pairs):
        if isinstance(value, CommentedMap | CommentedSeq):
            tree[key] = copy.deepcopy(value)
            _expand(tree[key])


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
    """How far a file indents, in columns."""

    mapping: int = 2
    offset: int = 0
    """Of a list's dashes from the key that the list is the value of."""

    @classmethod
    def of(cls, root: Node | None) -> "_Layout":
        """Take it from the first mapping and the first list in block style that are values."""
        found: dict[type, int] = {}
        for key, value in _entries(root):
            if value.value and not value.flow_style:
                column = value.start_mark.column - key.start_mark.column
                found.setdefault(type(value), max(column, 0))
        return cls(found.get(MappingNode) or 2, found.get(SequenceNode, 0))


def _entries(node: Node | None) -> Iterator[tuple[Node, CollectionNode]]:
    """Give every key of a tree whose value is a mapping or a list, with that."""
    if isinstance(node, MappingNode):
        for key, value in node.value:
            if isinstance(value, CollectionNode):
                yield key, value
            yield from _entries(value)
    elif isinstance(node, SequenceNode):
        for value in node.value:
            yield from _entries(value)


_COMMENT: Final = re.compile(r"\s*#")


_Splice = tuple[int, int, str]
"""What stands from one place of a text to another becomes something else."""


def _spliced(text: str, operations: Sequence[Operation], layout: _Layout) -> str:
    """Do all operations on the text as it is, so that it is read once, however long it is.

    None of them depends on one before it: those that shift a list's members come after those on the
    members, and what is added is added whole. What else there may be shows when the text is read.
    """
    newline = "\r\n" if "\r\n" in text else "\n"
    is_open = not text.endswith("\n")
    closed = text + newline if is_open else text
    editor = _Editor(closed, round_trip().compose(without_tabs(closed)), layout)
    parts: list[str] = []
    at = 0
    # Sorting keeps the order of what is added at one place.
    for start, end, new in sorted(map(editor.splice, operations), key=lambda splice: splice[0]):
        parts += (closed[at:start], new.replace("\n", newline))
        at = max(at, end)
    changed = "".join(parts) + closed[at:]
    return changed.removesuffix(newline) if is_open else changed


@dataclass(frozen=True, slots=True)
class _Editor:
    """Gives the change of a text for each operation; LookupError: there is none that is local."""

    text: str
    root: Any
    layout: _Layout

    def splice(self, operation: Operation) -> _Splice:
        parents, last = steps(operation)
        node, key = self.root, None
        for part in parents:
            place = _place(node, part)
            member = node.value[place]
            key, node = member if isinstance(node, MappingNode) else (None, member)
        if operation["op"] == "remove":
            return self._without(node, _place(node, last))
        value = operation["value"]
        if isinstance(node, MappingNode):
            for found, old in node.value:
                if found.value == last:
                    return self._replaced(node, old, value)
            return self._with_entry(node, last, value)
        if isinstance(node, SequenceNode):
            return self._with_item(node, key, value, first=last == "0" and bool(node.value))
        raise LookupError(last)

    def _replaced(self, parent: CollectionNode, old: Any, value: object) -> _Splice:
        """Put a scalar in another's place, in the same quotes or in none."""
        both_scalars = isinstance(old, ScalarNode) and not isinstance(value, dict | list)
        if not both_scalars:
            raise LookupError
        start, end = old.start_mark.index, old.end_mark.index
        new = json.dumps(value, ensure_ascii=False)
        if isinstance(value, str) and old.style == "'":
            new = "'" + value.replace("'", "''") + "'"
        elif isinstance(value, str) and not old.style:
            text, read = (f"[{value}]", [value]) if parent.flow_style else (value, value)
            new = value if _says(text, read) else new
        if old.style in {"|", ">"}:
            new += "\n"
        return start, end, new

    def _with_entry(self, node: CollectionNode, key: str, value: object) -> _Splice:
        if node.flow_style:
            return self._in_flow(node, json.dumps({key: value}, ensure_ascii=False)[1:-1])
        last, end = node.value[-1][0], self._line_end(_end(node))
        if _COMMENT.match(self.text, end) and self._begins_line(last):
            # What stands behind the last entry belongs to it.
            end = self._line_start(last)
        return self._with_block(end, node.value[0][0].start_mark.column, {key: value})

    def _with_item(
        self, node: CollectionNode, key: Node | None, value: object, *, first: bool
    ) -> _Splice:
        if node.flow_style:
            return self._in_flow(node, json.dumps(value, ensure_ascii=False), first=first)
        if key is None:
            raise LookupError
        # As the first one it comes before what is said of the next.
        at = self._line_end(key.end_mark.index) if first else self._line_end(_end(node))
        return self._with_block(at, node.start_mark.column, [value])

    def _in_flow(self, node: CollectionNode, new: str, *, first: bool = False) -> _Splice:
        at = node.start_mark.index + 1 if first or not node.value else _end(node.value[-1])
        return at, at, f"{new}, " if first else f", {new}" if node.value else new

    def _with_block(self, at: int, column: int, value: object) -> _Splice:
        """Insert the lines of a mapping or list before the line that begins at `at`."""
        lines = textwrap.dedent(_dumped(_quoted(value, quote=True), self.layout))
        return at, at, textwrap.indent(lines, " " * column)

    def _without(self, node: CollectionNode, place: int) -> _Splice:
        member = node.value[place]
        start, end = _start(member), _end(member)
        if node.flow_style:
            if place:
                start = _end(node.value[place - 1])
            elif len(node.value) > 1:
                end = _start(node.value[1])
            return start, end, ""
        if isinstance(node, SequenceNode):
            start = self.text.rfind("-", 0, start)
        return self.text.rfind("\n", 0, start) + 1, self._line_end(end), ""

    def _begins_line(self, node: Node) -> bool:
        return not self.text[self._line_start(node) : node.start_mark.index].strip()

    def _line_start(self, node: Node) -> int:
        return self.text.rfind("\n", 0, node.start_mark.index) + 1

    def _line_end(self, index: int) -> int:
        """Give the place after the line that ends at `index`, its comment included."""
        return index if self.text[index - 1] == "\n" else self.text.find("\n", index) + 1


def _place(node: Node, part: str) -> int:
    if isinstance(node, SequenceNode):
        return int(part)
    for place, (key, _) in enumerate(node.value if isinstance(node, MappingNode) else ()):
        if key.value == part:
            return place
    raise LookupError(part)


def _start(member: Any) -> int:
    """Give where a list's item begins, or a mapping's entry."""
    start: int = (member[0] if isinstance(member, tuple) else member).start_mark.index
    return start


def _end(member: Any) -> int:
    """Give where the content of a node ends, or of a mapping's entry: before what follows it."""
    node = member[1] if isinstance(member, tuple) else member
    if isinstance(node, CollectionNode) and node.value and not node.flow_style:
        return _end(node.value[-1])
    end: int = node.end_mark.index
    return end
