"""Adds to what a server offers what the proxy offers: tasks for calls that may be held."""

from collections.abc import Callable

import msgspec

from thoughtgate_proxy.mcp import raw_json
from thoughtgate_proxy.mcp.wait_modes import LEGACY_TASKS, TASKS_EXTENSION

_TASKS = (("list",), ("cancel",), ("requests", "tools", "call"))


def with_tasks(reply: bytes, method: str) -> bytes:
    """The answer to `initialize` or `server/discover`, with what we add to its capabilities.

    To `initialize` tasks are added where revision 2025-11-25 was agreed on, which alone has them.
    """
    if raw_json.members(raw_json.at(reply, "result", "capabilities") or b"") is None:
        return reply
    if method == "initialize":
        if raw_json.value(reply, "result", "protocolVersion") != LEGACY_TASKS:
            return reply
        for path in _TASKS:
            where = ("result", "capabilities", "tasks", *path)
            if raw_json.at(reply, *where) is None:
                reply = raw_json.put(reply, where, {})
        return reply
    where = ("result", "capabilities", "extensions", TASKS_EXTENSION)
    return reply if raw_json.at(reply, *where) is not None else raw_json.put(reply, where, {})


def with_task_support(reply: bytes, may_hold: Callable[[str], bool]) -> bytes:
    """The answer to `tools/list` of 2025-11-25, by which what `may_hold` may be called as a task.

    A tool whose server says more of it, or demands a task, keeps its server's word.
    """
    tools = raw_json.elements(raw_json.at(reply, "result", "tools")) or []
    changed = [_task_support(tool, may_hold) for tool in tools]
    if all(new is old for new, old in zip(changed, tools, strict=True)):
        return reply
    return raw_json.put(reply, ("result", "tools"), changed)


def _task_support(tool: msgspec.Raw, may_hold: Callable[[str], bool]) -> msgspec.Raw:
    name = raw_json.value(tool, "name")
    support = raw_json.value(tool, "execution", "taskSupport")
    if support not in (None, "forbidden") or not isinstance(name, str) or not may_hold(name):
        return tool
    return msgspec.Raw(raw_json.put(tool, ("execution", "taskSupport"), "optional"))
