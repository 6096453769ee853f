"""The JSON Schema (2020-12) of the configuration, for editors.

Walks the Structs that the reader walks. INVARIANT: what the reader takes, the schema takes too; it
refuses less, as a schema knows no variables, files, ranges of durations, or names in other places.
"""

import enum
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec import inspect

from thoughtgate_proxy.core.config.convert import struct_type
from thoughtgate_proxy.core.config.scalars import READERS, ScalarReader, written_duration
from thoughtgate_proxy.core.config.schema_clauses import CLAUSES, workflow_clause
from thoughtgate_proxy.core.config.values import Config, Workflow
from thoughtgate_proxy.core.config.workflows import WorkflowTypes

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]

_REFERENCE = rf"\$\{{{READERS['variable'].pattern}(?::-[^}}]*)?\}}"
_VARIABLES = r"\$\{"
_TEXT: Final[Schema] = {
    "type": "string",
    "description": "a text; `${NAME}` and `${NAME:-default}` stand for variables, `$${` for `${`",
    "pattern": rf"^(?:[^$]|\$\$\{{|{_REFERENCE}|\$(?!\$?\{{))*$",
}
_WITH_VARIABLES: Final[Schema] = {
    "description": "a text with variables: `${NAME}` or `${NAME:-default}`",
    "allOf": [{"$ref": "#/$defs/text"}, {"pattern": _VARIABLES}],
}
_BOOLEAN: Final[Schema] = {
    # Editors read YAML 1.2, where `on` is a text; the gate reads 1.1.
    "anyOf": [
        {"type": "boolean"},
        {"type": "string", "pattern": "^(?:yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF)$"},
    ]
}

# What may stand there without being a text.
_BARE: Final = {"number": ("number",), "scalar": ("number", "boolean")}


def json_schema(types: WorkflowTypes) -> Schema:
    """The schema of `values.Config`, whose workflows may ask the channels `types`."""
    walk = _SchemaWalk(types)
    whole = walk.struct(Config)
    return {
        "$schema": DIALECT,
        "title": "ThoughtGate's configuration",
        **whole,
        "$defs": dict(sorted(walk.definitions.items())),
    }


class _SchemaWalk:
    """Definitions are made where they are first met, and referred to by name."""

    def __init__(self, types: WorkflowTypes) -> None:
        self._types = types
        self.definitions: dict[str, Schema] = {
            "text": _TEXT, "with-variables": _WITH_VARIABLES, "boolean": _BOOLEAN,
        }  # fmt: skip

    def struct(self, cls: type[msgspec.Struct]) -> Schema:
        fields = struct_type(cls).fields
        schema: Schema = {
            "type": "object",
            "description": _first_words(cls),
            "properties": {field.encode_name: self._field(field) for field in fields},
            "additionalProperties": False,
        }
        if required := [field.encode_name for field in fields if field.required]:
            schema["required"] = required
        if cls is Workflow:
            schema["properties"] |= self._of_channels()
            return schema | workflow_clause(self._types)
        return schema | CLAUSES.get(cls, {})

    def _of_channels(self) -> Schema:
        """The keys of a workflow that depend on which channels there are."""
        allowed = _or_variables({"enum": list(self._types)})
        words = {"description": "Where a workflow's humans decide.", **allowed}
        found: dict[str, list[Schema]] = {}
        for kind in self._types.values():
            for field in struct_type(kind.keys).fields:
                if field.encode_name in kind.own_keys:
                    found.setdefault(field.encode_name, []).append(self._field(field))
        own = {key: one[0] if len(one) == 1 else {"anyOf": one} for key, one in found.items()}
        return {"adapter": self._define("Adapter", words), **own}

    def _field(self, field: inspect.Field) -> Schema:
        schema = self.value(field.type)
        if not field.required:
            default = field.default
            if isinstance(default, enum.Enum):
                schema["default"] = default.value
            elif isinstance(default, float):
                schema["default"] = written_duration(default)
            elif isinstance(default, bool | int | str):
                schema["default"] = default
        return schema

    def value(self, wanted: inspect.Type) -> Schema:
        """The schema of a value; a new dict, to which more may be added."""
        if isinstance(wanted, inspect.UnionType):
            # Null stands for what is left out, and is never written.
            members = [m for m in wanted.types if not isinstance(m, inspect.NoneType)]
            schemas = [self.value(member) for member in members]
            return schemas[0] if len(schemas) == 1 else {"anyOf": schemas}
        extra: Mapping[str, Any] = {}
        said: Schema = {}
        if isinstance(wanted, inspect.Metadata):
            extra, said = wanted.extra or {}, dict(wanted.extra_json_schema or {})
            wanted = wanted.type
        schema = self._reader(extra["read"]) if "read" in extra else self._plain(wanted)
        if extra.get("one_or_many"):
            schema = {"anyOf": [schema["items"], schema]}
        if isinstance(wanted, inspect.FloatType):
            span = f"{written_duration(wanted.ge or 0)} to {written_duration(wanted.le or 0)}"
            return schema | {"description": f"{said['description']}: a duration from {span}"}
        return schema | said

    def _reader(self, name: str) -> Schema:
        reader: ScalarReader = READERS[name]
        plain = {"not": {"pattern": _VARIABLES}}
        readable = {"type": "string", "pattern": f"^(?:{reader.pattern})$", **plain}
        schema = _or_variables(readable)
        for bare in _BARE.get(name, ()):
            schema["anyOf"].append({"type": bare})
        return self._define(name, {"description": reader.about, **schema})

    def _plain(self, wanted: inspect.Type) -> Schema:
        match wanted:
            case inspect.StructType(cls=cls):
                if cls.__name__ not in self.definitions:
                    self._define(cls.__name__, self.struct(cls))
                return {"$ref": f"#/$defs/{cls.__name__}"}
            case inspect.EnumType(cls=cls):
                allowed = {"enum": [member.value for member in cls]}
                words = {"description": _first_words(cls), **_or_variables(allowed)}
                return self._define(cls.__name__, words)
            case inspect.VarTupleType(item_type=item):
                return {"type": "array", "items": self.value(item)}
            case inspect.DictType(key_type=key, value_type=value):
                return {"type": "object", "propertyNames": _key(key)} | {
                    "additionalProperties": self.value(value)
                }
            case inspect.LiteralType(values=values):
                return {"enum": list(values)}
            case inspect.IntType(ge=least, le=most):
                top = {"maximum": most} if most is not None else {}
                return {"type": "integer", "minimum": least or 0, **top}
            case inspect.BoolType():
                return {"$ref": "#/$defs/boolean"}
            case inspect.StrType():
                return {"$ref": "#/$defs/text"}
            case _:
                raise AssertionError(f"nothing says how `{wanted}` looks in JSON Schema")

    def _define(self, name: str, schema: Schema) -> Schema:
        # A reference is a URI's fragment, so a blank would have to be escaped.
        name = name.replace(" ", "-")
        self.definitions.setdefault(name, schema)
        return {"$ref": f"#/$defs/{name}"}


def _key(wanted: inspect.Type) -> Schema:
    """A mapping's key: variables are not put into it."""
    assert isinstance(wanted, inspect.Metadata)  # noqa: S101  every mapping's keys are read
    reader = READERS[(wanted.extra or {})["read"]]
    return {"description": reader.about, "pattern": f"^(?:{reader.pattern})$"}


def _or_variables(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"$ref": "#/$defs/with-variables"}]}


def _first_words(cls: type) -> str:
    """The first paragraph of a docstring, in one line."""
    return " ".join((cls.__doc__ or "").split("\n\n")[0].split())
