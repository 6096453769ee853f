"""Removes hidden tools from listings, and changes nothing else."""

from collections.abc import Callable
from typing import Any

import msgspec
import orjson

from thoughtgate_proxy.core.protocol import strict_json
from thoughtgate_proxy.core.protocol.confusables import KnownKeys, twins
from thoughtgate_proxy.core.protocol.message import Id
from thoughtgate_proxy.core.protocol.methods import LISTINGS
from thoughtgate_proxy.mcp import raw_json

Shows = Callable[[str], bool]
"""Whether the agent may see the tool of that name."""

_ENVELOPE = KnownKeys(("id", "method", "result", "error"))
_RESULT = KnownKeys(LISTINGS.values())
_TOOL = KnownKeys(("name",))
_TOOLS = ("result", "tools")


class UnreadableListing(ValueError):
    """A reply to a listing that cannot be understood; the message says why in one line."""


def learn(body: bytes, names: Callable[[str], None]) -> None:
    """Tell `names` the tools of a listing that hides nothing, as far as it can be understood."""
    for tool in raw_json.elements(raw_json.at(body, *_TOOLS)) or ():
        name = raw_json.value(tool, "name")
        if isinstance(name, str) and name and name.isprintable():
            names(name)


def filtered(
    body: bytes, shows: Shows, names: Callable[[str], None], odd: Callable[[str], None]
) -> bytes:
    """A JSON-RPC message without the tools that `shows` hides.

    Whatever has a result with `tools` counts as a listing, so that a reply cannot be passed off as
    one to something else. The bytes stay as they are unless something is hidden; then the tools
    that stay, and everything beside them, keep theirs. `names` is told each tool that stays; one
    that cannot be understood is left out, and `odd` told why. Raises `UnreadableListing`.
    """
    try:
        value = strict_json.loads(body)
    except strict_json.UnreadableJSON as error:
        body = _readable(body, error, odd)
        value = strict_json.loads(body)
    keep = _kept(value, shows, odd)
    if keep:
        for tool, stays in zip(value["result"]["tools"], keep, strict=True):
            if stays:
                names(tool["name"])
    return body if all(keep) else _without(body, keep)


def response_ids(body: bytes) -> list[Id | None] | None:
    """The ids of the responses in `body`; None if it is no JSON-RPC message at all.

    An id that no request can have had stands as None. A response to nobody (without an id, or with
    null) is left out: a server that could not read a request answers so.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    found = []
    for member in value if isinstance(value, list) else [value]:
        if not isinstance(member, dict):
            return None
        id = member.get("id")
        responds = "method" not in member or "result" in member or "error" in member
        if responds and id is not None:
            # By the exact type: to Python `true` and `1.0` equal 1, to some client too.
            found.append(id if type(id) in (str, int) else None)
    return found


def members(body: bytes) -> list[bytes]:
    """The messages of a reply, which may be a batch, each with its bytes; [] if it is no JSON."""
    try:
        value = msgspec.json.decode(body, type=list[msgspec.Raw] | dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        return []
    return [bytes(raw) for raw in value] if isinstance(value, list) else [body]


def _readable(body: bytes, error: strict_json.UnreadableJSON, odd: Callable[[str], None]) -> bytes:
    """The message with `null` in place of each tool that has no single reading."""
    tools = raw_json.elements(raw_json.at(body, *_TOOLS))
    if not tools:
        raise UnreadableListing(str(error)) from error
    for place, tool in enumerate(map(bytes, tools)):
        try:
            strict_json.loads(tool)
        except strict_json.UnreadableJSON as why:
            odd(f"`result.tools[{place}]` is left out: {why}")
            body = body.replace(tool, b"null", 1)
    try:
        strict_json.loads(body)  # what stands around the tools must have one reading as well
    except strict_json.UnreadableJSON:
        raise UnreadableListing(str(error)) from error
    return body


def _kept(value: Any, shows: Shows, odd: Callable[[str], None]) -> list[bool]:
    """Which tools of a message stay, by their place; [] if it lists none."""
    if not isinstance(value, dict):
        raise UnreadableListing("the reply is no JSON-RPC message")
    _clear(value, _ENVELOPE, "the message")
    result = value.get("result")
    if not isinstance(result, dict):
        return []
    _clear(result, _RESULT, "`result`")
    for key in LISTINGS.values():
        if result.get(key) is not None and not isinstance(result[key], list):
            raise UnreadableListing(f"`result.{key}` is not a list")
    keep = []
    for place, tool in enumerate(result.get("tools") or ()):
        name = tool.get("name") if isinstance(tool, dict) else None
        try:
            if not isinstance(name, str) or not name or not name.isprintable():
                raise UnreadableListing(f"`result.tools[{place}].name` is no printable text")
            _clear(tool, _TOOL, f"`result.tools[{place}]`")
        except UnreadableListing as error:
            odd(f"a tool is left out: {error}")
            keep.append(False)
        else:
            keep.append(shows(name))
    return keep


def _clear(value: dict[str, Any], known: KnownKeys, where: str) -> None:
    """Refuse keys of which a lenient client could take one for another."""
    if found := known.impostor(value) or twins(value):
        shown = " and ".join(f"`{ascii(key[:80])[1:-1]}`" for key in found)
        raise UnreadableListing(f"{shown} look alike as keys of {where}")


def _without(body: bytes, keep: list[bool]) -> bytes:
    """The message `body` with only the tools at the places where `keep` is true."""
    tools = raw_json.elements(raw_json.at(body, *_TOOLS)) or []
    kept = [tool for tool, stays in zip(tools, keep, strict=True) if stays]
    return raw_json.put(body, _TOOLS, kept)
