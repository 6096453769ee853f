"""A tree of nodes to the Structs of `values`, with every mistake noted on the way.

Walks the types that msgspec reports, so a field is declared once. msgspec's own decoder stops at
the first mistake and knows no lines.
"""

from collections.abc import Iterable, Mapping
from typing import Final, TypeVar, cast

import msgspec
from msgspec import inspect

from thoughtgate_proxy.core.config import tree
from thoughtgate_proxy.core.config.expand import NotExpandedError, NotKnownError, expand
from thoughtgate_proxy.core.config.mistakes import Findings, Mark, Place, found, listed, nearest
from thoughtgate_proxy.core.config.scalars import READERS, UnreadableError, written_duration
from thoughtgate_proxy.core.config.values import Workflow
from thoughtgate_proxy.core.config.workflows import WorkflowTypes

S = TypeVar("S", bound=msgspec.Struct)
BAD: Final = object()
"""Stands in a Struct where `findings` is spoiled; such a Struct is never given out."""

_BOOLEANS: Final = {
    "true": True, "yes": True, "on": True, "false": False, "no": False, "off": False,
}  # fmt: skip
_SCALAR: Final = "a text, a number, `true` or `false`"
_KINDS: Final = {
    "bool": "a boolean", "int": "a number", "float": "a number", "timestamp": "a date",
    "null": "nothing", "merge": "a merge key", "value": "a special sign", "binary": "binary",
}  # fmt: skip


_TEXTS: Final = {
    "rate": "calls per time such as `20/m`", "url": "a URL", "glob": "a name or glob",
    "channel": 'a channel such as `"#approvals"`', "number": "a number", "scalar": _SCALAR,
}  # fmt: skip


def convert(
    node: tree.Node,
    struct: type[S],
    environ: Mapping[str, str] | None,
    types: WorkflowTypes,
    findings: Findings,
) -> S:
    """`node` as `struct`; where `findings` got spoiled, BAD or a default stands."""
    return cast("S", _Walk(environ, types, findings).struct(struct_type(struct), node, ()))


def struct_type(struct: type[msgspec.Struct]) -> inspect.StructType:
    """What msgspec knows of a Struct."""
    return cast("inspect.StructType", inspect.type_info(struct))


class _Walk:
    def __init__(
        self, environ: Mapping[str, str] | None, types: WorkflowTypes, findings: Findings
    ) -> None:
        self._environ, self._types, self._findings = environ, types, findings

    def value(self, wanted: inspect.Type, node: tree.Node, place: Place) -> object:
        """The value of any node."""
        extra: Mapping[str, object] = {}
        if isinstance(wanted, inspect.UnionType):
            wanted = _member(wanted, node)
        if isinstance(wanted, inspect.Metadata):
            extra, wanted = wanted.extra or {}, wanted.type
        if isinstance(node, tree.Scalar) and node.kind == tree.REFUSED:
            return BAD
        if extra.get("one_or_many") and isinstance(node, tree.Scalar) and node.kind != "null":
            node = tree.Sequence((node,), node.mark)
        if isinstance(wanted, inspect.StructType) and "read" not in extra:
            if wanted.cls is Workflow:
                return self._workflow(node, place)
            return self.struct(wanted, node, place)
        if isinstance(wanted, inspect.VarTupleType):
            return self._sequence(wanted, node, place)
        if isinstance(wanted, inspect.DictType):
            return self._mapping(wanted, node, place)
        if not isinstance(node, tree.Scalar):
            what = "a list" if isinstance(node, tree.Sequence) else "a mapping"
            return self._bad(place, f"found {what}; allowed: {_allowed(wanted, extra)}", node.mark)
        return self._scalar(wanted, extra, node, place)

    def _workflow(self, node: tree.Node, place: Place) -> msgspec.Struct:
        """A workflow, with the keys of the channel that it names."""
        if not isinstance(node, tree.Mapping):
            return self.struct(struct_type(Workflow), node, place)
        entries, adapter, names = dict(node.entries), BAD, list(self._types)
        if entry := entries.get("adapter"):
            adapter = self._one_of(names, entry[1], (*place, "adapter"))
        else:
            self._findings.mistake((*place, "adapter"), f"missing; required: {listed(names)}")
        kind = self._types.get(str(adapter))
        others = frozenset[str]().union(*(each.own_keys for each in self._types.values()))
        for key in sorted(entries.keys() & others - (kind.own_keys if kind else frozenset())):
            mark = entries.pop(key)[1].mark
            if kind:  # else it is not known whose keys these are
                message = f"the adapter `{adapter}` has none; leave the key out"
                self._findings.mistake((*place, key), message, mark)
        wanted = struct_type(kind.keys if kind else Workflow)
        return self.struct(wanted, tree.Mapping(entries, node.mark), place, adapter=adapter)

    def _one_of(self, names: list[str], node: tree.Node, place: Place) -> object:
        if not isinstance(node, tree.Scalar) or node.kind != "str":
            self._wrong(node, place, listed(names))
            return BAD
        text = self._scalar(inspect.StrType(), {}, node, place)
        if text is BAD or text in names:
            return text
        return self._not(node, place, listed(names) + nearest(str(text), names))

    def struct(
        self, wanted: inspect.StructType, node: tree.Node, place: Place, **given: object
    ) -> msgspec.Struct:
        """Always a Struct, so that what stands beside a mistake is judged too.

        `given` are values that were read already.
        """
        fields = {field.encode_name: field for field in wanted.fields}
        if isinstance(node, tree.Mapping):
            self._unknown_keys(node, fields, place)
            entries, complete = node.entries, True
        else:
            self._wrong(node, place, f"a mapping with the keys {listed(fields)}")
            entries, complete = {}, False
        values = dict(given)
        for name, field in fields.items():
            if name in given:
                continue
            if name in entries:
                values[name] = self.value(field.type, entries[name][1], (*place, name))
            elif field.required:
                values[name] = self._missing(field, (*place, name), complete)
        return wanted.cls(**{fields[name].name: value for name, value in values.items()})

    def _missing(self, field: inspect.Field, place: Place, complete: bool) -> object:
        if complete:
            required = _allowed(*_plain(field.type))
            self._findings.mistake(place, f"missing; required: {required}", kind="missing")
        wanted, _ = _plain(field.type)
        if isinstance(wanted, inspect.StructType):
            return self.struct(wanted, tree.Scalar("", tree.REFUSED, Mark(1, 1)), place)
        return () if isinstance(wanted, inspect.VarTupleType) else BAD

    def _unknown_keys(self, node: tree.Mapping, fields: Iterable[str], place: Place) -> None:
        known = list(fields)
        for name, (key, _) in node.entries.items():
            if name in known:
                continue
            if key.kind == "merge":
                message = "merge keys are not allowed; write the keys out"
            else:
                message = f"unknown key; allowed: {listed(known)}{nearest(name, known)}"
            self._findings.mistake((*place, name), message, key.mark, "unknown key")

    def _sequence(
        self, wanted: inspect.VarTupleType, node: tree.Node, place: Place
    ) -> tuple[object, ...]:
        if not isinstance(node, tree.Sequence):
            self._wrong(node, place, "a list")
            return ()
        return tuple(
            self.value(wanted.item_type, item, (*place, index))
            for index, item in enumerate(node.items)
        )

    def _mapping(
        self, wanted: inspect.DictType, node: tree.Node, place: Place
    ) -> dict[str, object]:
        if not isinstance(node, tree.Mapping):
            self._wrong(node, place, "a mapping")
            return {}
        values = {}
        for name, (key, value) in node.entries.items():
            at = (*place, name)
            _, extra = _plain(wanted.key_type)
            self._read(extra, name, key, at)
            values[name] = self.value(wanted.value_type, value, at)
        return values

    def _scalar(
        self, wanted: inspect.Type, extra: Mapping[str, object], node: tree.Scalar, place: Place
    ) -> object:
        if isinstance(wanted, inspect.BoolType):
            return self._boolean(node, place)
        if isinstance(wanted, inspect.IntType | inspect.LiteralType):
            return self._integer(wanted, node, place)
        reader = extra.get("read")
        if reader == "scalar" and node.kind != "str":
            return self._no_text(node, place)
        # A bare number goes to the readers of durations and rates, which have a hint for it.
        numeric = isinstance(wanted, inspect.FloatType) or reader in ("rate", "number")
        if node.kind != "str" and not (numeric and node.kind in ("int", "float")):
            return self._not_text(wanted, extra, node, place)
        try:
            text = expand(node.text, self._environ)
        except NotExpandedError as error:
            return self._bad(place, str(error), node.mark)
        except NotKnownError as error:
            self._findings.not_known(place, str(error))
            return BAD
        if text != node.text:
            self._findings.expanded.add(place)
        if isinstance(wanted, inspect.EnumType):
            names = [member.value for member in wanted.cls]
            if text in names:
                return wanted.cls(text)
            return self._not(node, place, listed(names) + nearest(text, names))
        value = self._read(extra, text, node, place)
        if isinstance(wanted, inspect.FloatType) and isinstance(value, float):
            inside = (wanted.ge or 0) <= value <= (wanted.le or value)
            return value if inside else self._not(node, place, _allowed(wanted, extra))
        return value

    def _no_text(self, node: tree.Scalar, place: Place) -> object:
        """A number or a boolean, in JSON's spelling: `yes` and `010` say too little."""
        if node.kind == "bool" and node.text in ("true", "false"):
            return node.text == "true"
        if node.kind in ("int", "float"):
            return self._read({"read": "number"}, node.text, node, place)
        return self._not(node, place, f'{_SCALAR}; a text stands in quotes: `"{node.text}"`')

    def _boolean(self, node: tree.Scalar, place: Place) -> object:
        # All spellings of YAML 1.1: `freeze: on` must not be a mistake in an emergency.
        if node.kind == "bool":
            return _BOOLEANS[node.text.lower()]
        quotes = ", without quotes" if node.text in _BOOLEANS else ""
        return self._not(node, place, f"`true` or `false`{quotes}")

    def _not_text(
        self, wanted: inspect.Type, extra: Mapping[str, object], node: tree.Scalar, place: Place
    ) -> object:
        if node.kind == "null":
            return self._not(
                node,
                place,
                f"{_allowed(wanted, extra)}; leave the key out, or put a text that starts with "
                "`#` in quotes",
            )
        if isinstance(wanted, inspect.StrType):
            return self._not(node, place, f'a text; put it in quotes: `"{node.text}"`')
        return self._not(node, place, _allowed(wanted, extra))

    def _integer(
        self,
        wanted: inspect.IntType | inspect.LiteralType,
        node: tree.Scalar,
        place: Place,
    ) -> object:
        plain = node.text.isascii() and node.text.isdigit() and len(node.text) < 16
        if node.kind == "int" and plain and (node.text == "0" or node.text[0] != "0"):
            number = int(node.text)
            if isinstance(wanted, inspect.LiteralType):
                if number in wanted.values:
                    return number
            elif (wanted.ge or 0) <= number and (wanted.le is None or number <= wanted.le):
                return number
        quotes = ", without quotes" if node.kind == "str" and plain else ""
        return self._not(node, place, _allowed(wanted, {}) + quotes)

    def _read(
        self, extra: Mapping[str, object], text: str, node: tree.Scalar, place: Place
    ) -> object:
        reader = extra.get("read")
        if not isinstance(reader, str):
            return text
        try:
            return READERS[reader].read(text)
        except UnreadableError as error:
            # The text as written, not as expanded: a variable may hold a secret. So may a header.
            if reader == "header value":
                return self._bad(place, f"found something else; allowed: {error}", node.mark)
            return self._not(node, place, str(error))

    def _wrong(self, node: tree.Node, place: Place, allowed: str) -> None:
        if isinstance(node, tree.Scalar):
            if node.kind == tree.REFUSED:
                return
            what = _said(node)
        else:
            what = "found a list" if isinstance(node, tree.Sequence) else "found a mapping"
        self._bad(place, f"{what}; allowed: {allowed}", node.mark)

    def _not(self, node: tree.Scalar, place: Place, allowed: str) -> object:
        return self._bad(place, f"{_said(node)}; allowed: {allowed}", node.mark)

    def _bad(self, place: Place, message: str, mark: Mark) -> object:
        self._findings.mistake(place, message, mark)
        return BAD


def _plain(wanted: inspect.Type) -> tuple[inspect.Type, Mapping[str, object]]:
    if isinstance(wanted, inspect.Metadata):
        return wanted.type, wanted.extra or {}
    return wanted, {}


def _member(union: inspect.UnionType, node: tree.Node) -> inspect.Type:
    """The member that the node's shape asks for; null is never given, only left out."""
    members = [member for member in union.types if not isinstance(member, inspect.NoneType)]
    if len(members) == 1:
        return members[0]
    structs = isinstance(node, tree.Mapping)
    return next(m for m in members if isinstance(_plain(m)[0], inspect.StructType) == structs)


def _said(node: tree.Scalar) -> str:
    if node.kind == "null":
        return "found nothing" if not node.text else f"found {found(node.text)} (nothing)"
    kind = _KINDS.get(node.kind)
    return f"found {found(node.text)}" + (f" ({kind})" if kind else "")


def _allowed(wanted: inspect.Type, extra: Mapping[str, object]) -> str:
    match wanted:
        case inspect.EnumType():
            return listed(member.value for member in wanted.cls)
        case inspect.LiteralType():
            return listed(map(str, wanted.values))
        case inspect.BoolType():
            return "`true` or `false`"
        case inspect.IntType():
            return _range("a whole number", str(wanted.ge or 0), wanted.le and str(wanted.le))
        case inspect.FloatType():
            top = wanted.le and written_duration(float(wanted.le))
            return _range("a duration", written_duration(float(wanted.ge or 0)), top)
        case inspect.VarTupleType():
            return "a list"
        case inspect.StructType() if "read" not in extra:
            return f"a mapping with the keys {listed(f.encode_name for f in wanted.fields)}"
        case inspect.DictType():
            return "a mapping"
    return _TEXTS.get(str(extra.get("read")), "a text")


def _range(what: str, least: str, most: object) -> str:
    return f"{what} from {least} to {most}" if most else f"{what} from {least}"
