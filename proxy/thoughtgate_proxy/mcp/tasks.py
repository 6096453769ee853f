"""A request for approval as a task, as the two revisions that have tasks tell of it.

Sources: revision 2025-11-25, "Tasks"; SEP-2663, the tasks extension of 2026-07-28.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

import msgspec

from thoughtgate_proxy.core.approval import Approval, Ending, State
from thoughtgate_proxy.core.protocol import message
from thoughtgate_proxy.core.protocol.message import Id
from thoughtgate_proxy.mcp import answers, raw_json, rewrite
from thoughtgate_proxy.mcp.approval_texts import clock, iso

METHODS: Final = frozenset(
    {"tasks/get", "tasks/result", "tasks/cancel", "tasks/update", "tasks/list"}
)
MISSING_CAPABILITY: Final = -32021
# People need seconds at the least, and an agent must not poll in a tight loop.
POLL_SECONDS: Final = 3.0
# With which each approval's id begins: it is its task's id as well, which nobody can guess.
_PREFIX: Final = "tg_"


class Status(StrEnum):
    """Where a task stands, in the words of both revisions."""

    WORKING = "working"
    INPUT_REQUIRED = "input_required"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether it stays so."""
        return self not in (Status.WORKING, Status.INPUT_REQUIRED)


@dataclass(frozen=True, slots=True)
class Task:
    """One task. Times are Unix time in seconds.

    `response` is the JSON-RPC response of the call, once it has one; `input_requests`
    what the server asks back, if it waits for the answers.
    """

    id: str
    status: Status
    message: str
    created: float
    updated: float
    ttl: float
    response: bytes | None = None
    input_requests: bytes | None = None


def is_ours(task: Any) -> bool:
    """Whether a task's id looks like ours, so that no server need be asked."""
    return isinstance(task, str) and task.startswith(_PREFIX)


def of_approval(approval: Approval, kept: float, response: bytes | None, *, modern: bool) -> Task:
    """The task of `approval`, which is kept for `kept` seconds in all.

    `response` is what the call was answered: its server's reply, or ours if there is none.
    """
    id, updated = approval.id, approval.ended or approval.decided or approval.opened
    times = (approval.opened, updated, kept)
    if not approval.state.final:
        return Task(id, Status.WORKING, _doing(approval), *times)
    if approval.ending in (Ending.CANCELLED, Ending.DISCONNECTED):
        text = "the request for approval was cancelled"
        return Task(id, Status.CANCELLED, text, *times, response)
    assert response is not None  # noqa: S101  whatever has ended has an answer
    status, text = _outcome(response, modern=modern)
    if rewrite.requires_input(response):
        asked = raw_json.at(response, "result", "inputRequests") or b"{}"
        return Task(id, Status.INPUT_REQUIRED, "the server asks back", *times, response, asked)
    return Task(id, status, text, *times, response)


def as_cancelled(task: Task) -> Task:
    """The same, cancelled: it stays so, whatever becomes of the call."""
    return replace(task, status=Status.CANCELLED, message="cancelled while its server was at it")


def as_working(task: Task) -> Task:
    """The same, while its server has the answers that it asked for."""
    text = "answered; waiting for the server's reply"
    return replace(task, status=Status.WORKING, message=text, response=None, input_requests=None)


def as_asking(task: Task) -> Task:
    """The same, while its server asks its client: 2025-11-25 tells that by `tasks/result`."""
    text = "the server asks something in mid-call: ask for `tasks/result`"
    return replace(task, status=Status.INPUT_REQUIRED, message=text)


def with_task_id(response: bytes, server_task: str, task: str) -> bytes:
    """A server's response about its `server_task`, which the client knows as `task`."""
    if raw_json.value(response, "result", "taskId") != server_task:
        return response
    return raw_json.put(response, ("result", "taskId"), task)


def _doing(approval: Approval) -> str:
    match approval.state:
        case State.PENDING:
            return f"waiting for a human's approval until {clock(approval.expires)}"
        case State.APPROVED:
            return "approved, and about to be sent"
        case _:
            return "approved and sent; waiting for the server's reply"


def _outcome(response: bytes, *, modern: bool) -> tuple[Status, str]:
    if raw_json.at(response, "error") is not None:
        text = raw_json.value(response, "error", "message")
        return Status.FAILED, str(text or "the call ended with an error")
    if raw_json.value(response, "result", "isError") is True:
        # 2025-11-25 calls it failed, and SEP-2663 reserves that for JSON-RPC errors.
        text = "the tool answered with an error, or the call was not sent: see the result"
        return (Status.COMPLETED if modern else Status.FAILED), text
    return Status.COMPLETED, "the call was approved and is done"


def created(task: Task, id: Id, *, modern: bool) -> bytes:
    """The answer to the call: a `CreateTaskResult`."""
    fields = _fields(task, modern=modern)
    return answers.result(id, {"resultType": "task", **fields} if modern else {"task": fields})


def task_result(task: Task, id: Id, *, modern: bool) -> bytes:
    """The answer to `tasks/get`."""
    result = _fields(task, modern=modern)
    if not modern:
        return answers.result(id, result)
    result["resultType"] = "complete"
    if task.input_requests is not None:
        result["inputRequests"] = msgspec.Raw(task.input_requests)
    elif task.response is not None and task.status is not Status.CANCELLED:
        key = "error" if task.status is Status.FAILED else "result"
        if (value := raw_json.at(task.response, key)) is not None:
            result[key] = msgspec.Raw(value)
    return answers.result(id, result)


def cancelled(task: Task, id: Id, *, modern: bool) -> bytes:
    """The answer to `tasks/cancel`: an acknowledgement, in 2025-11-25 the task."""
    return acknowledged(id) if modern else answers.result(id, _fields(task, modern=False))


def acknowledged(id: Id) -> bytes:
    """The answer to `tasks/update`, and to a `tasks/cancel` of 2026-07-28."""
    return answers.result(id, {"resultType": "complete"})


def merged_list(tasks: list[Task], id: Id, response: bytes) -> bytes:
    """The answer to `tasks/list` of 2025-11-25: ours, then those of the server's own response."""
    ours = [raw_json.encoded(_fields(task, modern=False)) for task in tasks]
    others = raw_json.elements(raw_json.at(response, "result", "tasks"))
    if others is None:
        # A server that knows nothing of tasks; whatever else it says is its own affair.
        return answers.result(id, {"tasks": ours}) if _has_no_tasks(response) else response
    return raw_json.put(response, ("result", "tasks"), [*ours, *others])


def not_found(response: bytes, id: Id) -> bytes:
    """A server's response about a task that is none of ours, as one that has tasks would say it."""
    if not _has_no_tasks(response):
        return response
    return answers.error(id, message.INVALID_PARAMS, "there is no such task")


def _has_no_tasks(response: bytes) -> bool:
    return bool(raw_json.value(response, "error", "code") == message.METHOD_NOT_FOUND)


def _fields(task: Task, *, modern: bool) -> dict[str, Any]:
    """What both revisions tell of a task; 2026-07-28 has the unit in the names of durations."""
    unit = "Ms" if modern else ""
    return {
        "taskId": task.id,
        "status": task.status.value,
        "statusMessage": task.message,
        "createdAt": iso(task.created),
        "lastUpdatedAt": iso(task.updated),
        f"ttl{unit}": round(task.ttl * 1000),
        f"pollInterval{unit}": round(POLL_SECONDS * 1000),
    }
