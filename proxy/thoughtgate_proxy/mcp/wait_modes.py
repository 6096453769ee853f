"""How a request can wait for a human, by what it declares itself."""

from enum import Enum
from typing import Final

from thoughtgate_proxy.core.protocol.message import Request

TASKS_EXTENSION: Final = "io.modelcontextprotocol/tasks"
CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
LEGACY_TASKS: Final = "2025-11-25"
"""The only revision whose core has tasks."""
# The only requests that may be answered with `input_required` (2026-07-28, "Supported Requests").
_ROUND_TRIPS = frozenset({"tools/call", "prompts/get", "resources/read"})


class WaitMode(Enum):
    """A way of waiting."""

    TASK = "task"
    """At once a task handle of the tasks extension (SEP-2663), which the client polls."""
    ROUNDS = "rounds"
    """Held for a while on its stream, then `input_required`: the client sends it again."""
    LEGACY_TASK = "legacy task"
    """At once a task of revision 2025-11-25."""
    STREAM = "stream"
    """Held on its stream to the end."""


def wait_mode(request: Request, version: str | None) -> WaitMode:
    """How `request` waits; `version` is its header `MCP-Protocol-Version`."""
    call = request.method == "tools/call"
    if request.modern:
        if call and declares_tasks(request):
            return WaitMode.TASK
        return WaitMode.ROUNDS if request.method in _ROUND_TRIPS else WaitMode.STREAM
    # A client that names no version may speak it: the header came with 2025-06-18, and a server
    # that does not know the version goes by what the message says.
    if call and isinstance(request.params.get("task"), dict) and version in (None, LEGACY_TASKS):
        return WaitMode.LEGACY_TASK
    return WaitMode.STREAM


def declares_tasks(request: Request) -> bool:
    """Whether a request of 2026-07-28 says that its client knows of the tasks extension."""
    able = (request.params.get("_meta") or {}).get(CAPABILITIES)
    extensions = able.get("extensions") if isinstance(able, dict) else None
    return isinstance(extensions, dict) and isinstance(extensions.get(TASKS_EXTENSION), dict)
