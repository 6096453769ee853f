"""JSON patches: RFC 6902 operations on decoded documents, of which `add` and `remove` are needed.

An `add` on a member that is there replaces it (RFC 6902, section 4.1).
"""

from collections.abc import Sequence
from typing import Any, Literal, TypedDict


class Add(TypedDict):
    """An operation of a patch, as it goes over the wire."""

    op: Literal["add"]
    path: str
    value: Any


class Remove(TypedDict):
    """An operation that the webhook never sends; `uninject` needs it."""

    op: Literal["remove"]
    path: str


Operation = Add | Remove


def add(path: Sequence[str | int], value: object) -> Add:
    """Make one operation; `path` holds plain keys and indices, `-` is the end of an array."""
    return Add(op="add", path=_pointer(path), value=value)


def remove(path: Sequence[str | int]) -> Remove:
    """Make one operation; `path` holds plain keys and indices."""
    return Remove(op="remove", path=_pointer(path))


def moved(operation: Operation, front: Sequence[str | int]) -> Operation:
    """Give the operation for a document in which its own stands at `front`."""
    path = _pointer(front) + operation["path"]
    if operation["op"] == "remove":
        return Remove(op="remove", path=path)
    return Add(op="add", path=path, value=operation["value"])


def steps(operation: Operation) -> tuple[list[str], str]:
    """Give the plain keys that lead to the operation's place, and the last one."""
    *parents, last = [_unescaped(part) for part in operation["path"].split("/")[1:]]
    return parents, last


def apply(document: Any, operations: Sequence[Operation]) -> None:
    """Apply the operations to `document` in place; a path that is not there raises KeyError.

    Works on plain lists and dicts as on those of ruamel.yaml, which keep comments and order.
    """
    for operation in operations:
        parents, last = steps(operation)
        target = document
        for part in parents:
            target = target[int(part)] if isinstance(target, list) else target[part]
        if operation["op"] == "remove":
            del target[int(last) if isinstance(target, list) else last]
        elif not isinstance(target, list):
            target[last] = operation["value"]
        elif last == "-":
            target.append(operation["value"])
        else:
            target.insert(int(last), operation["value"])


def _pointer(path: Sequence[str | int]) -> str:
    return "".join("/" + _escaped(str(part)) for part in path)


def _escaped(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")


def _unescaped(part: str) -> str:
    return part.replace("~1", "/").replace("~0", "~")
