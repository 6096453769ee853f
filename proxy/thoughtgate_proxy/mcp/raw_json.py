"""JSON objects whose members keep their bytes: what we do not change stays as it was written."""

from typing import Any

import msgspec

Members = dict[str, msgspec.Raw]
"""The members of an object by their keys, each with its bytes."""

_DECODER = msgspec.json.Decoder(Members)


def members(value: bytes | msgspec.Raw) -> Members | None:
    """The members of an object, in their order; None if `value` is no object."""
    try:
        return _DECODER.decode(value)
    except msgspec.DecodeError:
        return None


def encoded(value: Any) -> msgspec.Raw:
    """JSON, to be put among members."""
    return msgspec.Raw(msgspec.json.encode(value))


def at(value: bytes | msgspec.Raw, *path: str) -> bytes | None:
    """The JSON that stands at `path`, None if nothing does."""
    found: bytes | msgspec.Raw | None = value
    for key in path:
        inner = members(found) if found is not None else None
        found = inner.get(key) if inner is not None else None
    return None if found is None else bytes(found)


def value(json: bytes | msgspec.Raw | None, *path: str) -> Any:
    """The value at `path` of `json`; None if there is none, or no JSON."""
    found = at(json, *path) if json is not None else None
    try:
        return None if found is None else msgspec.json.decode(found)
    except msgspec.DecodeError:
        return None


def elements(json: bytes | None) -> list[msgspec.Raw] | None:
    """The elements of an array; None if `json` is none."""
    try:
        return msgspec.json.decode(json or b"", type=list[msgspec.Raw])
    except msgspec.DecodeError:
        return None


def put(value: bytes | msgspec.Raw, path: tuple[str, ...], new: Any) -> bytes:
    """The object `value` with `new` at `path`; objects that are missing on the way are made.

    Gives `value` itself if there is something else than an object on the way.
    """
    found = members(value)
    if found is None:
        return bytes(value)
    key, *rest = path
    inner = found.get(key, msgspec.Raw(b"{}"))
    found[key] = msgspec.Raw(put(inner, tuple(rest), new)) if rest else encoded(new)
    return msgspec.json.encode(found)
