"""The tasks that wait for humans, in both revisions that have tasks."""

import asyncio
from typing import Any, Final

from thoughtgate_proxy.approvals.dispatcher import Closed, OtherCaller
from thoughtgate_proxy.core.approval import KEPT_SECONDS, Approval, NoSuchTransition, State
from thoughtgate_proxy.core.policy.permit import UngatedMessage
from thoughtgate_proxy.core.protocol import message
from thoughtgate_proxy.core.protocol.http import HttpReply
from thoughtgate_proxy.core.protocol.message import Request
from thoughtgate_proxy.exchange.reply_rewriter import rewritten
from thoughtgate_proxy.holds.context import HoldContext
from thoughtgate_proxy.holds.follow_up import FollowUps
from thoughtgate_proxy.holds.request import HeldRequest, json_reply
from thoughtgate_proxy.holds.stream import HeldStream, WaitTerms
from thoughtgate_proxy.mcp import answers, approval_texts, raw_json, tasks
from thoughtgate_proxy.mcp.answers import Addressee
from thoughtgate_proxy.mcp.tasks import Status, Task
from thoughtgate_proxy.mcp.wait_modes import TASKS_EXTENSION, declares_tasks

# How long a poll waits for the server of a call that it carries: most are quicker.
_SENDING_SECONDS: Final = 2.0
_CANCELLED: Final = "cancelled by its caller, as a task"


class TaskService:
    """Answers what is asked of tasks of ours."""

    def __init__(self, context: HoldContext, follow_ups: FollowUps, principal: str) -> None:
        self._approvals, self._context = context.approvals, context
        self._follow_ups, self._principal = follow_ups, principal
        # What servers said after they asked back; a restart begins again with their question.
        self._later_responses: dict[str, bytes] = {}
        self._follow_up: dict[str, asyncio.Task[None]] = {}
        # Cancelled while the server was at it: 2025-11-25 wants them to stay so.
        self._cancelled: set[str] = set()

    async def created(self, approval: Approval, to: Addressee) -> bytes:
        """The answer to a call that waits as a task."""
        return tasks.created(await self._task(approval, to), to.id, modern=to.modern)

    async def reply(self, held: HeldRequest) -> HttpReply | None:
        """Answer a request about a task; None if it is about none of ours."""
        request, named = held.request, held.request.params.get("taskId")
        if request.method not in tasks.METHODS or not tasks.is_ours(named):
            return None
        if request.modern and not declares_tasks(request):
            needed: dict[str, Any] = {"requiredCapabilities": {"extensions": {TASKS_EXTENSION: {}}}}
            text = "tasks are for clients that declare their extension"
            error = answers.error(request.id, tasks.MISSING_CAPABILITY, text, needed)
            return json_reply(error, 400)
        approval = await self._mine(held, named)
        if approval is None:
            return _refused(request, f"there is no task `{str(named)[:120]}`")
        try:
            return await self._answer(held, approval)
        except Closed:
            restarting = approval_texts.restarting(approval, f"`{approval.call.name}`")
            return json_reply(answers.error(request.id, restarting.code, restarting.text))

    async def list(self, held: HeldRequest) -> list[Task]:
        """The caller's tasks, newest first."""
        approvals = self._approvals.of_caller(self._principal, held.credential)
        return [
            await self._task(approval, _addressee(held, approval))
            for approval in approvals
            if approval.call.method == "tools/call" and approval.call.source == held.source.id
        ]

    async def _answer(self, held: HeldRequest, approval: Approval) -> HttpReply:
        request, to = held.request, _addressee(held, approval)
        match request.method:
            case "tasks/get":
                return await self._get(held, approval, to)
            case "tasks/cancel":
                return await self._cancel(held, approval, to)
            case "tasks/result" if not request.modern:
                return self._result(held, approval, to)
            case "tasks/update" if request.modern:
                return await self._update(held, approval, to)
        return _refused(
            request, f"`{request.method}` is not of this revision", message.METHOD_NOT_FOUND
        )

    async def _get(self, held: HeldRequest, approval: Approval, to: Addressee) -> HttpReply:
        if approval.state is State.APPROVED:
            approval = await self._send(held, approval)
        task = await self._task(approval, to)
        if (server_task := _server_task(task)) is not None:
            return await self._pass_on(held, task.id, server_task)
        if to.modern and task.status.terminal:
            await self._approvals.delivered(approval.id)
        return json_reply(tasks.task_result(task, to.id, modern=to.modern))

    async def _cancel(self, held: HeldRequest, approval: Approval, to: Addressee) -> HttpReply:
        task = await self._task(approval, to)
        if (server_task := _server_task(task)) is not None:
            return await self._pass_on(held, task.id, server_task)
        if task.status.terminal and not to.modern:
            return _refused(held.request, f"the task is {task.status} already")
        try:
            approval = await self._approvals.cancel(approval.id, _CANCELLED)
        except NoSuchTransition:
            approval = await self._approvals.find(approval.id) or approval
            if approval.state is State.SENDING and not to.modern:
                self._cancelled.add(approval.id)
        task = await self._task(approval, to)
        return json_reply(tasks.cancelled(task, to.id, modern=to.modern))

    def _result(self, held: HeldRequest, approval: Approval, to: Addressee) -> HttpReply:
        terms = WaitTerms(task=approval.id, may_leave=True)
        return HeldStream(self._context, held, approval, to, terms).reply()

    async def _update(self, held: HeldRequest, approval: Approval, to: Addressee) -> HttpReply:
        task = await self._task(approval, to)
        if (server_task := _server_task(task)) is not None:
            return await self._pass_on(held, task.id, server_task)
        if task.status is Status.INPUT_REQUIRED and approval.id not in self._follow_up:
            follow_up = asyncio.ensure_future(self._go_on(held, approval, task.response or b""))
            self._follow_up[approval.id] = follow_up
            follow_up.add_done_callback(lambda _: self._follow_up.pop(approval.id, None))
        return json_reply(tasks.acknowledged(to.id))

    async def _go_on(self, held: HeldRequest, approval: Approval, question: bytes) -> None:
        response = await self._follow_ups.response(held, approval, question)
        self._later_responses[approval.id] = response
        for old in {*self._later_responses, *self._cancelled}:
            if await self._approvals.find(old) is None:
                self._later_responses.pop(old, None)
                self._cancelled.discard(old)

    async def _send(self, held: HeldRequest, approval: Approval) -> Approval:
        """Let a poll send the call; it does not wait long for the server."""
        call = self._context.server_call(held, approval)
        dispatch = self._approvals.dispatcher.dispatch(
            approval.id, held.credential, call.send, held.carry
        )
        sending = asyncio.ensure_future(dispatch)
        try:
            await asyncio.wait({sending}, timeout=_SENDING_SECONDS)
            if sending.done():
                sending.result()
        except (NoSuchTransition, OtherCaller, KeyError):
            pass  # it is something else by now
        finally:
            sending.cancel()  # which ends our waiting, and not the sending
        return await self._approvals.find(approval.id) or approval

    async def _task(self, approval: Approval, to: Addressee) -> Task:
        response = None
        if approval.state is State.DONE:
            if approval.result is None:
                approval = await self._approvals.find(approval.id) or approval
            response = self._later_responses.get(approval.id) or approval.result
        if response is None and approval.state.final:
            response = approval_texts.ended(approval, to.subject).response(to)
        kept = approval.expires - approval.opened + KEPT_SECONDS
        task = tasks.of_approval(approval, kept, response, modern=to.modern)
        if approval.id in self._cancelled:
            return tasks.as_cancelled(task)
        if approval.id in self._follow_up:
            return tasks.as_working(task)
        call = self._context.in_flight.server_calls.get(approval.id)
        if call is not None and call.has_question and not to.modern:
            return tasks.as_asking(task)
        return task

    async def _mine(self, held: HeldRequest, named: object) -> Approval | None:
        approval = await self._approvals.find(str(named))
        if approval is None or approval.call.credential != held.credential:
            return None
        return approval if approval.call.source == held.source.id else None

    async def _pass_on(self, held: HeldRequest, task: str, server_task: str) -> HttpReply:
        """Let the server answer for the task that it made itself of the approved call."""
        body = raw_json.put(held.body, ("params", "taskId"), server_task)
        grounds = UngatedMessage(held.request)
        permit = held.engine.permit(held.source, held.target, body, grounds)
        reply = await held.dispatch(held.with_name(server_task))(permit)
        limit = held.engine.config.limits.listing_reply_bytes
        return await rewritten(reply, lambda r: tasks.with_task_id(r, server_task, task), limit)


def _server_task(task: Task) -> str | None:
    """The task that the server made of the call, if it did."""
    if task.response is None or raw_json.value(task.response, "result", "resultType") != "task":
        return None
    id = raw_json.value(task.response, "result", "taskId")
    return id if isinstance(id, str) else None


def _addressee(held: HeldRequest, approval: Approval) -> Addressee:
    """Who is answered: the request about a task, in the form that suits the task's call."""
    deny_as = held.engine.config.governance.deny_as
    call, request = approval.call, held.request
    return Addressee(request.id, call.method, request.modern, deny_as, f"`{call.name[:200]}`")


def _refused(request: Request, text: str, code: int = message.INVALID_PARAMS) -> HttpReply:
    return json_reply(answers.error(request.id, code, text))
