"""Gate 4 as a client meets it: requests that wait for a human, in the way that each one can."""

from collections.abc import Callable, Sequence
from functools import partial

from thoughtgate_proxy.approvals.audit import AuditLog
from thoughtgate_proxy.approvals.service import ApprovalService, OpenRefused
from thoughtgate_proxy.approvals.store.errors import StoreUnavailable
from thoughtgate_proxy.core.approval import Asked, Call
from thoughtgate_proxy.core.config.values import Kind, Mode, OnDisconnect, Workflow
from thoughtgate_proxy.core.policy import call_digest
from thoughtgate_proxy.core.policy.decision import Decision
from thoughtgate_proxy.core.policy.identity import Identity
from thoughtgate_proxy.core.policy.permit import MessageGrounds, UngatedMessage
from thoughtgate_proxy.core.protocol import message
from thoughtgate_proxy.core.protocol.headers import Head
from thoughtgate_proxy.core.protocol.http import HttpReply
from thoughtgate_proxy.core.protocol.message import Notification, Target
from thoughtgate_proxy.exchange.reply_rewriter import Rewrite
from thoughtgate_proxy.holds.context import HoldContext
from thoughtgate_proxy.holds.follow_up import FollowUps
from thoughtgate_proxy.holds.in_flight import InFlight
from thoughtgate_proxy.holds.request import HeldRequest, json_reply
from thoughtgate_proxy.holds.round_trips import RoundTrips
from thoughtgate_proxy.holds.stream import HeldStream, WaitTerms
from thoughtgate_proxy.holds.tasks import TaskService
from thoughtgate_proxy.mcp import answers, approval_texts, capabilities, raw_json, rewrite, tasks
from thoughtgate_proxy.mcp.request_state import Forged
from thoughtgate_proxy.mcp.tool_descriptions import ToolDescriptions
from thoughtgate_proxy.mcp.wait_modes import LEGACY_TASKS, WaitMode, wait_mode
from thoughtgate_proxy.telemetry.record import Record


class HoldService:
    """Takes each request that a human must decide on from its hold to its answer."""

    def __init__(
        self,
        approvals: ApprovalService,
        record: Record,
        identity: Identity,
        new_nonce: Callable[[], str],
        now: Callable[[], float],
    ) -> None:
        """`new_nonce` gives what nobody can guess; `now` is Unix time in seconds."""
        self._approvals, self._identity = approvals, identity
        self._descriptions, self._in_flight = ToolDescriptions(), InFlight()
        self._round_trips = RoundTrips(approvals, identity.agent, new_nonce, now)
        self._context = HoldContext(approvals, self._in_flight, self._round_trips, now)
        self._follow_ups = FollowUps(self._round_trips, AuditLog(record))
        self._tasks = TaskService(self._context, self._follow_ups, identity.agent)

    async def hold(
        self,
        held: HeldRequest,
        decisions: tuple[Decision, ...],
        correlation: str,
        trace: str | None,
    ) -> HttpReply:
        """Answer a request of which `decisions` hold a part, and let the rest go on."""
        to, request = held.addressee, held.request
        decision = next(d for d in decisions if not d.goes_on)
        workflow = held.engine.config.approval[decision.workflow or ""]
        mode = wait_mode(request, held.header("mcp-protocol-version"))
        try:
            state = await self._round_trips.take_state(held)
            approval = await self._approvals.find(state.approval) if state is not None else None
            if state is not None and state.answers:
                return self._follow_ups.reply(held, decisions, state, approval, correlation)
            if approval is None:
                targets = [
                    target
                    for target, of_target in zip(request.targets, decisions, strict=True)
                    if not of_target.goes_on
                ]
                call = self._call(held, mode, targets)
                asked = self._asked(held, decision, workflow, correlation, trace)
                approval = await self._approvals.open(call, asked, workflow)
        except Forged as error:
            return json_reply(answers.error(request.id, message.INVALID_PARAMS, str(error)))
        except OpenRefused as error:
            text = approval_texts.not_asked(to.subject, error.kind, error.reason, error.retry_after)
            return json_reply(text.response(to))
        except StoreUnavailable as error:
            text = approval_texts.not_asked(to.subject, "store", str(error), None)
            return json_reply(text.response(to))
        if mode in (WaitMode.TASK, WaitMode.LEGACY_TASK):
            return json_reply(await self._tasks.created(approval, to))
        terms = WaitTerms(
            number=state.round + 1 if state is not None else 1,
            seconds=workflow.hold if mode is WaitMode.ROUNDS else None,
            may_leave=not to.modern and workflow.on_disconnect is OnDisconnect.CANCEL,
        )
        stream = HeldStream(self._context, held, approval, to, terms)
        return stream.reply() if held.takes_events else await stream.answer()

    async def answer(self, held: HeldRequest, grounds: MessageGrounds) -> HttpReply | None:
        """Answer a request that may go on; None if it is none of ours.

        It may ask for a task of ours, or bring a state of ours, which its server never gave.
        """
        id = held.request.id
        try:
            if isinstance(grounds, UngatedMessage):
                return await self._tasks.reply(held)
            state = await self._round_trips.take_state(held)
        except Forged as error:
            return json_reply(answers.error(id, message.INVALID_PARAMS, str(error)))
        except StoreUnavailable as error:
            text = approval_texts.not_asked(held.addressee.subject, "store", str(error), None)
            return json_reply(answers.error(id, text.code, text.text))
        if state is None:
            return None
        return self._follow_ups.reply(held, grounds.decisions, state, None, "")

    async def rewrite_of(self, held: HeldRequest) -> Rewrite | None:
        """What becomes of the server's reply to a request that passes; None: nothing."""
        request, config = held.request, held.engine.config
        if not config.approval or config.governance.mode is Mode.OBSERVE:
            return None
        legacy = not request.modern
        match request.method:
            case "initialize" | "server/discover" as method:
                return partial(capabilities.with_tasks, method=method)
            case "tools/list":
                return partial(self._rewrite_tools, held)
            case "tasks/list" if legacy and "cursor" not in request.params:
                ours = await self._tasks.list(held)
                return lambda listing: tasks.merged_list(ours, request.id, listing)
            case "tasks/get" | "tasks/result" | "tasks/cancel" if legacy:
                return lambda response: tasks.not_found(response, request.id)
        return None

    def cancel(self, note: Notification, head: Head) -> Rewrite | None:
        """Take note of a `notifications/cancelled`; gives what its server shall read.

        None: it is about a request that no server has seen, and that has ended now.
        """
        credential = call_digest.credential(head.header("authorization"))
        session, id = head.header("mcp-session-id"), note.params.get("requestId")
        held = self._in_flight.find(id, session, credential)
        sent_id = held.sent_id() if held is not None else id
        if held is not None and sent_id is None:
            held.take_back()
            return None
        if sent_id == id:
            return bytes
        return lambda body: raw_json.put(body, ("params", "requestId"), sent_id)

    def _rewrite_tools(self, held: HeldRequest, listing: bytes) -> bytes:
        self._descriptions.learn(held.source.id, listing)
        if held.request.modern or held.header("mcp-protocol-version") != LEGACY_TASKS:
            return listing
        may_hold = partial(held.engine.may_hold, held.source, Kind.TOOL)
        return capabilities.with_task_support(listing, may_hold)

    def _call(self, held: HeldRequest, mode: WaitMode, targets: Sequence[Target]) -> Call:
        """What is to be approved; `targets` are those parts of it that are held."""
        request, body = held.request, held.body
        if mode is WaitMode.LEGACY_TASK:
            # The task is ours. A server without tasks must not care (2025-11-25, "Task Support and
            # Handling"), and one with tasks would make a second one of it.
            body = rewrite.without(body, "task")
        if str(request.params.get("requestState", "")).startswith(call_digest.OUR_STATE):
            body = rewrite.without(body, "requestState")
        first, more = targets[0], len(targets) - 1
        return Call(
            principal=self._identity.agent,
            source=held.source.id,
            method=request.method,
            kind=first.kind,
            name=f"{first.name} and {more} more" if more else first.name,
            target=held.target,
            body=body,
            digest=self._round_trips.digest(held, body),
            credential=held.credential,
            headers=held.call_headers,
        )

    def _asked(
        self,
        held: HeldRequest,
        decision: Decision,
        workflow: Workflow,
        correlation: str,
        trace: str | None,
    ) -> Asked:
        request, description = held.request, None
        if request.method == "tools/call":
            description = self._descriptions.of(held.source.id, request.targets[0].name)
        return Asked(
            workflow=decision.workflow or "",
            adapter=workflow.adapter,
            reason=decision.reason,
            gate=decision.gate.value,
            rule=decision.rule,
            match=decision.match,
            policies=decision.policies,
            config=decision.config,
            description=description,
            namespace=self._identity.namespace,
            pod=self._identity.pod,
            correlation=correlation,
            traceparent=trace,
        )
