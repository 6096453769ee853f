"""What we can do beside the server, put into its own words: tasks for calls that may be held."""

from collections.abc import Callable

import msgspec

from thoughtgate_proxy.mcp import raw_json
from thoughtgate_proxy.mcp.wait_modes import TASKS_EXTENSION

LEGACY = "2025-11-25"
"""The only revision whose core has tasks."""
_TASKS = (("list",), ("cancel",), ("requests", "tools", "call"))


def advertised(reply: bytes, method: str) -> bytes:
    """The answer to `initialize` or `server/discover`, with what we add to its capabilities.

    To `initialize` tasks are added where revision 2025-11-25 was agreed on, which alone has them.
    """
    if raw_json.members(raw_json.at(reply, "result", "capabilities") or b"") is None:
        return reply
    if method == "initialize":
        if raw_json.value(reply, "result", "protocolVersion") != LEGACY:
            return reply
        for path in _TASKS:
            where = ("result", "capabilities", "tasks", *path)
            if raw_json.at(reply, *where) is None:
                reply = raw_json.put(reply, where, {})
        return reply
    where = ("result", "capabilities", "extensions", TASKS_EXTENSION)
    return reply if raw_json.at(reply, *where) is not None else raw_json.put(reply, where, {})


def annotated(reply: bytes, holds: Callable[[str], bool]) -> bytes:
    """The answer to `tools/list` of 2025-11-25: tools that `holds` names may be called as tasks.

    A tool whose server says more of it, or demands a task, keeps its server's word.
    """
    tools = raw_json.elements(raw_json.at(reply, "result", "tools")) or []
    changed = [_annotated(tool, holds) for tool in tools]
    if all(new is old for new, old in zip(changed, tools, strict=True)):
        return reply
    return raw_json.put(reply, ("result", "tools"), changed)


def _annotated(tool: msgspec.Raw, holds: Callable[[str], bool]) -> msgspec.Raw:
    name = raw_json.value(tool, "name")
    support = raw_json.value(tool, "execution", "taskSupport")
    if support not in (None, "forbidden") or not isinstance(name, str) or not holds(name):
        return tool
    return msgspec.Raw(raw_json.put(tool, ("execution", "taskSupport"), "optional"))
