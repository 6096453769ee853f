"""The tasks that wait for humans, in both revisions that have tasks."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from thoughtgate_proxy.approvals.dispatcher import Closed, OtherCaller
from thoughtgate_proxy.approvals.service import ApprovalService
from thoughtgate_proxy.core.approval import KEPT_SECONDS, Approval, NoSuchTransition, State
from thoughtgate_proxy.core.protocol import message
from thoughtgate_proxy.core.protocol.http import HttpReply
from thoughtgate_proxy.core.protocol.message import Request
from thoughtgate_proxy.holds.request import HeldRequest, json_reply
from thoughtgate_proxy.holds.server_call import ServerCall
from thoughtgate_proxy.holds.stream import HeldStream, HoldContext, Waiter
from thoughtgate_proxy.mcp import answers, approval_texts, raw_json, rewrite, tasks
from thoughtgate_proxy.mcp.answers import Addressee
from thoughtgate_proxy.mcp.reply_rewriter import edited
from thoughtgate_proxy.mcp.tasks import Status, Task
from thoughtgate_proxy.mcp.wait_modes import TASKS_EXTENSION, declares_tasks

# How long a poll waits for the server of a call that it carries: most are quicker.
_CARRYING_SECONDS: Final = 2.0
_CANCELLED: Final = "cancelled by its caller, as a task"

Answer = Callable[[HeldRequest, Approval, Task], Awaitable[bytes]]
"""Sends the client's answers to what the server asks back; gives the next response."""


class TaskService:
    """Answers what is asked of tasks of ours."""

    def __init__(
        self,
        desk: ApprovalService,
        shared: HoldContext,
        carrier: Callable[[HeldRequest, Approval], ServerCall],
        answer: Answer,
        principal: str,
    ) -> None:
        """`carrier` gives who would send a call with the headers of a request."""
        self._desk, self._shared, self._principal = desk, shared, principal
        self._carrier, self._answer = carrier, answer
        # What servers said after they asked back; a restart begins again with their question.
        self._went_on: dict[str, bytes] = {}
        self._answering: dict[str, asyncio.Task[None]] = {}
        # Cancelled while the server was at it: 2025-11-25 wants them to stay so.
        self._given_up: set[str] = set()

    async def created(self, approval: Approval, to: Addressee) -> bytes:
        """The answer to a call that waits as a task."""
        return tasks.created(await self._task(approval, to), to.id, modern=to.modern)

    async def reply(self, arrival: HeldRequest) -> HttpReply | None:
        """Answer a request about a task; None if it is about none of ours."""
        request, named = arrival.request, arrival.request.params.get("taskId")
        if request.method not in tasks.METHODS or not tasks.claims(named):
            return None
        if request.modern and not declares_tasks(request):
            needed: dict[str, Any] = {"requiredCapabilities": {"extensions": {TASKS_EXTENSION: {}}}}
            text = "tasks are for clients that declare their extension"
            told = answers.error(request.id, tasks.MISSING_CAPABILITY, text, needed)
            return json_reply(told, 400)
        approval = await self._mine(arrival, named)
        if approval is None:
            return _refused(request, f"there is no task `{str(named)[:120]}`")
        try:
            return await self._answered(arrival, approval)
        except Closed:
            said = approval_texts.restarting(approval, f"`{approval.call.name}`")
            return json_reply(answers.error(request.id, said.code, said.text))

    async def list(self, arrival: HeldRequest) -> list[Task]:
        """The caller's tasks, newest first."""
        known = self._desk.of_caller(self._principal, arrival.credential)
        return [
            await self._task(approval, _addressee(arrival, approval))
            for approval in known
            if approval.call.method == "tools/call" and approval.call.source == arrival.source.id
        ]

    async def _answered(self, arrival: HeldRequest, approval: Approval) -> HttpReply:
        request, to = arrival.request, _addressee(arrival, approval)
        match request.method:
            case "tasks/get":
                return await self._get(arrival, approval, to)
            case "tasks/cancel":
                return await self._cancel(arrival, approval, to)
            case "tasks/result" if not request.modern:
                return self._result(arrival, approval, to)
            case "tasks/update" if request.modern:
                return await self._update(arrival, approval, to)
        return _refused(
            request, f"`{request.method}` is not of this revision", message.METHOD_NOT_FOUND
        )

    async def _get(self, arrival: HeldRequest, approval: Approval, to: Addressee) -> HttpReply:
        if approval.state is State.APPROVED:
            approval = await self._carried(arrival, approval)
        task = await self._task(approval, to)
        if (theirs := _theirs(task)) is not None:
            return await self._passed_on(arrival, task.id, theirs)
        if to.modern and task.status.terminal:
            await self._desk.delivered(approval.id)
        return json_reply(tasks.told(task, to.id, modern=to.modern))

    async def _cancel(self, arrival: HeldRequest, approval: Approval, to: Addressee) -> HttpReply:
        task = await self._task(approval, to)
        if (theirs := _theirs(task)) is not None:
            return await self._passed_on(arrival, task.id, theirs)
        if task.status.terminal and not to.modern:
            return _refused(arrival.request, f"the task is {task.status} already")
        try:
            approval = await self._desk.cancel(approval.id, _CANCELLED)
        except NoSuchTransition:
            approval = await self._desk.find(approval.id) or approval
            if approval.state is State.SENDING and not to.modern:
                self._given_up.add(approval.id)
        task = await self._task(approval, to)
        return json_reply(tasks.cancelled(task, to.id, modern=to.modern))

    def _result(self, arrival: HeldRequest, approval: Approval, to: Addressee) -> HttpReply:
        waiter = Waiter(
            to=to,
            session=arrival.header("mcp-session-id"),
            credential=arrival.credential,
            token=rewrite.token_of(arrival.request.params),
            task=approval.id,
            polite=True,
        )
        return HeldStream(self._shared, approval, waiter, partial(self._carrier, arrival)).reply()

    async def _update(self, arrival: HeldRequest, approval: Approval, to: Addressee) -> HttpReply:
        task = await self._task(approval, to)
        if (theirs := _theirs(task)) is not None:
            return await self._passed_on(arrival, task.id, theirs)
        if task.status is Status.INPUT_REQUIRED and approval.id not in self._answering:
            going_on = asyncio.ensure_future(self._go_on(arrival, approval, task))
            self._answering[approval.id] = going_on
            going_on.add_done_callback(lambda _: self._answering.pop(approval.id, None))
        return json_reply(tasks.acknowledged(to.id))

    async def _go_on(self, arrival: HeldRequest, approval: Approval, task: Task) -> None:
        self._went_on[approval.id] = await self._answer(arrival, approval, task)
        for old in list(self._went_on):
            if await self._desk.find(old) is None:
                self._went_on.pop(old, None)

    async def _carried(self, arrival: HeldRequest, approval: Approval) -> Approval:
        """Let a poll carry the call; it does not wait long for the server."""
        carrier = self._carrier(arrival, approval)
        send = partial(self._shared.send, approval.id, carrier)
        sending = asyncio.ensure_future(
            self._desk.dispatcher.dispatch(approval.id, arrival.credential, send)
        )
        try:
            await asyncio.wait({sending}, timeout=_CARRYING_SECONDS)
            if sending.done():
                sending.result()
        except (NoSuchTransition, OtherCaller, KeyError):
            pass  # it is something else by now
        finally:
            sending.cancel()  # which ends our waiting, and not the sending
        return await self._desk.find(approval.id) or approval

    async def _task(self, approval: Approval, to: Addressee) -> Task:
        response = None
        if approval.state is State.DONE:
            if approval.result is None:
                approval = await self._desk.find(approval.id) or approval
            response = self._went_on.get(approval.id) or approval.result
        if response is None and approval.state.final:
            said = approval_texts.ended(approval, to.subject)
            response = answers.told(to, said.code, said.text, said.facts)
        kept = approval.expires - approval.opened + KEPT_SECONDS
        told = tasks.of(approval, kept, response, modern=to.modern)
        if approval.id in self._given_up:
            return tasks.as_cancelled(told)
        if approval.id in self._answering:
            return tasks.as_working(told)
        sending = self._shared.sending.get(approval.id)
        if sending is not None and sending.asks and not to.modern:
            return tasks.as_asking(told)
        return told

    async def _mine(self, arrival: HeldRequest, named: object) -> Approval | None:
        approval = await self._desk.find(str(named))
        if approval is None or approval.call.credential != arrival.credential:
            return None
        return approval if approval.call.source == arrival.source.id else None

    async def _passed_on(self, arrival: HeldRequest, ours: str, theirs: str) -> HttpReply:
        """Let the server tell of the task that it made itself of the approved call."""
        body = raw_json.put(arrival.body, ("params", "taskId"), theirs)
        permit = arrival.gate.permit(arrival.source, "POST", arrival.target, body)
        reply = await arrival.exchange(arrival.named(theirs))(permit)
        limit = arrival.gate.config.limits.listing_reply_bytes
        return await edited(reply, lambda told: tasks.renamed(told, theirs, ours), limit)


def _theirs(task: Task) -> str | None:
    """The task that the server made of the call, if it did."""
    if task.response is None or raw_json.value(task.response, "result", "resultType") != "task":
        return None
    id = raw_json.value(task.response, "result", "taskId")
    return id if isinstance(id, str) else None


def _addressee(arrival: HeldRequest, approval: Approval) -> Addressee:
    """Who is told of the call: the request about its task, in the words of the call."""
    deny_as = arrival.gate.config.governance.deny_as
    call, request = approval.call, arrival.request
    return Addressee(request.id, call.method, request.modern, deny_as, f"`{call.name[:200]}`")


def _refused(request: Request, text: str, code: int = message.INVALID_PARAMS) -> HttpReply:
    return json_reply(answers.error(request.id, code, text))
