"""JSON patches: RFC 6902 operations on decoded documents, of which only `add` is ever needed.

An `add` on a member that is there replaces it (RFC 6902, section 4.1).
"""

from collections.abc import Sequence
from typing import Any, Literal, TypedDict


class Add(TypedDict):
    """One operation of a patch, as it goes over the wire."""

    op: Literal["add"]
    path: str
    value: Any


def add(path: Sequence[str | int], value: object) -> Add:
    """Make one operation; `path` holds plain keys and indices, `-` is the end of an array."""
    return Add(op="add", path="".join("/" + _escaped(str(part)) for part in path), value=value)


def apply(document: Any, operations: Sequence[Add]) -> None:
    """Apply the operations to `document` in place; a path that is not there raises KeyError.

    Works on plain lists and dicts as on those of ruamel.yaml, which keep comments and order.
    """
    for operation in operations:
        *parents, last = [_unescaped(part) for part in operation["path"].split("/")[1:]]
        target = document
        for part in parents:
            target = target[int(part)] if isinstance(target, list) else target[part]
        if not isinstance(target, list):
            target[last] = operation["value"]
        elif last == "-":
            target.append(operation["value"])
        else:
            target.insert(int(last), operation["value"])


def _escaped(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")


def _unescaped(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")
