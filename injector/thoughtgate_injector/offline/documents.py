"""The documents of a file of manifests, in YAML or JSON, each with its text and its value."""

import copy
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.events import AliasEvent, DocumentEndEvent, DocumentStartEvent

from thoughtgate_injector.core.patch import Operation, apply
from thoughtgate_injector.core.refusal import Refusal, refused, shown
from thoughtgate_injector.offline import yaml_edit, yaml_read


@dataclass(frozen=True, slots=True)
class Document:
    """One document of a file: `before + body + after` is its text, `plain` its decoded value."""

    before: str
    body: str
    after: str
    plain: Any
    aliases: bool = False
    json: bool = False

    def changed(self, operations: Sequence[Operation]) -> str:
        """Give the text with the operations done; without any it is the same to the byte."""
        body = self.body
        if operations:
            wanted = copy.deepcopy(self.plain)
            apply(wanted, copy.deepcopy(operations))
            if self.json:
                body = _json(wanted, body)
            else:
                body = yaml_edit.edited(body, operations, wanted, aliases=self.aliases)
        return self.before + body + self.after


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
        if template := _template(text):
            return template
        return refused(f"the input is no YAML: {' '.join(str(error).split())}")
    except (ValueError, RecursionError, AttributeError, TypeError) as error:
        if template := _template(text):
            return template
        # ruamel.yaml raises errors of its own on some malformed input.
        return refused(f"the input is no YAML: {shown(error)}")


def _template(text: str) -> Refusal | None:
    """Tell a chart's template from a file that is broken."""
    for number, line in enumerate(text.splitlines(), 1):
        if "{{" in line:
            return refused(
                f"the input is a template, with {shown(line.strip())} in line {number}, and no "
                "manifest; render it first, as by `helm template`"
            )
    return None


_BLANK: Final = "\ufeff \t\r\n"


def _json_documents(text: str) -> Iterator[Document]:
    """Split concatenated JSON documents, as kubectl does."""
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
    starts = [0, *(mark.start for mark in marks[1:]), len(text)]
    for mark, start, end in zip(marks, starts, starts[1:], strict=False):
        body = text[mark.body : mark.body_end]
        before, after = text[start : mark.body], text[mark.body_end : end]
        yield Document(before, body, after, yaml_read.value_of(body), aliases=mark.aliases)


@dataclass(slots=True)
class _Mark:
    """Places in a text: where a document begins with its `---`, its content, and its end."""

    start: int
    body: int
    body_end: int = 0
    aliases: bool = False


def _marks(text: str) -> Iterator[_Mark]:
    mark = _Mark(0, 0)
    for event in YAML(typ="safe", pure=True).parse(yaml_read.without_tabs(text)):
        if isinstance(event, DocumentStartEvent):
            start = event.start_mark.index
            after = _after_marker(text, event.end_mark.index) if event.explicit else start
            mark = _Mark(start, after)
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
