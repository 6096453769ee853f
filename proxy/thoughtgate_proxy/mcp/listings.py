"""Replies that list things: hidden tools leave them, and nothing else changes."""

from collections.abc import Callable
from typing import Any

import msgspec
import orjson

from thoughtgate_proxy.core import strict_json
from thoughtgate_proxy.core.message import Id
from thoughtgate_proxy.core.methods import LISTINGS

Shows = Callable[[str], bool]


class UnreadableListing(ValueError):
    """A reply to a listing that cannot be understood; the message says why in one line."""


def filtered(body: bytes, shows: Shows, names: Callable[[str], None]) -> bytes:
    """A JSON-RPC message, or a batch of them, without the tools that `shows` hides.

    Whatever has a result with `tools` counts as a listing, so that a reply cannot be passed off as
    one to something else. The bytes stay as they are unless something is hidden; then the tools
    that stay, and everything beside them, keep theirs. `names` is told each tool that stays.
    Raises `UnreadableListing`.
    """
    try:
        value = strict_json.loads(body)
    except strict_json.UnreadableJSON as error:
        raise UnreadableListing(str(error)) from error
    if isinstance(value, list):
        members = [_message(member, shows, names) for member in value]
        if all(member is None for member in members):
            return body
        raws = msgspec.json.decode(body, type=list[msgspec.Raw])
        return msgspec.json.encode(
            [
                raw if keep is None else msgspec.Raw(_without(bytes(raw), keep))
                for raw, keep in zip(raws, members, strict=True)
            ]
        )
    keep = _message(value, shows, names)
    return body if keep is None else _without(body, keep)


def answers(body: bytes) -> list[Id] | None:
    """The ids of the responses in `body`; None if it is no JSON-RPC message at all."""
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    found = []
    for member in value if isinstance(value, list) else [value]:
        if not isinstance(member, dict):
            return None
        if "method" not in member and isinstance(member.get("id"), str | int):
            found.append(member["id"])
    return found


def members(body: bytes) -> list[bytes]:
    """The messages of a reply to a batch, each with its bytes; [] if there are none to be found."""
    try:
        value = msgspec.json.decode(body, type=list[msgspec.Raw] | dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        return []
    return [bytes(raw) for raw in value] if isinstance(value, list) else [body]


def _message(value: Any, shows: Shows, names: Callable[[str], None]) -> list[bool] | None:
    """Which tools of a message stay, by their place; None if all of them do."""
    if not isinstance(value, dict):
        raise UnreadableListing("the reply is no JSON-RPC message")
    twins = strict_json.lookalike(value)
    result = value.get("result")
    if twins is None and isinstance(result, dict):
        twins = strict_json.lookalike(result)
    if twins is not None:
        raise UnreadableListing(f"the keys `{twins[0]}` and `{twins[1]}` look alike")
    if not isinstance(result, dict):
        return None
    for key in LISTINGS.values():
        if key in result and not isinstance(result[key], list):
            raise UnreadableListing(f"`result.{key}` is not a list")
    tools = result.get("tools")
    if tools is None:
        return None
    keep = []
    for place, tool in enumerate(tools):
        name = tool.get("name") if isinstance(tool, dict) else None
        if not isinstance(name, str) or not name or not name.isprintable():
            raise UnreadableListing(f"`result.tools[{place}].name` is no printable text")
        if strict_json.lookalike(tool):
            raise UnreadableListing(f"two keys of `result.tools[{place}]` look alike")
        keep.append(shows(name))
        if keep[-1]:
            names(name)
    return None if all(keep) else keep


def _without(body: bytes, keep: list[bool]) -> bytes:
    """The message `body` with only the tools at the places where `keep` is true."""
    envelope = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    result = msgspec.json.decode(envelope["result"], type=dict[str, msgspec.Raw])
    tools = msgspec.json.decode(result["tools"], type=list[msgspec.Raw])
    kept = [tool for tool, stays in zip(tools, keep, strict=True) if stays]
    result["tools"] = msgspec.Raw(msgspec.json.encode(kept))
    envelope["result"] = msgspec.Raw(msgspec.json.encode(result))
    return msgspec.json.encode(envelope)
