"""Gate 4 as a client meets it: requests that wait for a human, in the way that each one can."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import msgspec

from thoughtgate_proxy.approvals.channels.channel import StoreUnavailable
from thoughtgate_proxy.approvals.service import ApprovalService, OpenRefused
from thoughtgate_proxy.core.approval import Approval, Asked, Call
from thoughtgate_proxy.core.config.values import AuditArguments, Kind, Mode, OnDisconnect, Workflow
from thoughtgate_proxy.core.policy import call_digest
from thoughtgate_proxy.core.policy.decision import Decision, Gate, Outcome
from thoughtgate_proxy.core.policy.identity import Identity
from thoughtgate_proxy.core.protocol import message
from thoughtgate_proxy.core.protocol.headers import Head
from thoughtgate_proxy.core.protocol.http import HttpReply
from thoughtgate_proxy.core.protocol.message import Notification, Request, Target
from thoughtgate_proxy.holds.follow_up import FollowUp
from thoughtgate_proxy.holds.request import HeldRequest, json_reply
from thoughtgate_proxy.holds.round_trips import RoundTrips, Turn, without
from thoughtgate_proxy.holds.server_call import ServerCall
from thoughtgate_proxy.holds.stream import HeldStream, HoldContext, Waiter
from thoughtgate_proxy.holds.tasks import TaskService
from thoughtgate_proxy.mcp import answers, approval_texts, capabilities, raw_json, rewrite, tasks
from thoughtgate_proxy.mcp.answers import Addressee
from thoughtgate_proxy.mcp.reply_rewriter import Edit
from thoughtgate_proxy.mcp.request_state import Forged, RequestState
from thoughtgate_proxy.mcp.sse import Splitter, data_of
from thoughtgate_proxy.mcp.tasks import Task
from thoughtgate_proxy.mcp.tool_descriptions import ToolDescriptions
from thoughtgate_proxy.mcp.wait_modes import WaitMode, manner
from thoughtgate_proxy.telemetry.record import Record

_EVENTS: Final = ("text/event-stream", "text/*", "*/*")


class HoldService:
    """Takes each request that a human must decide on from its hold to its answer."""

    def __init__(
        self,
        desk: ApprovalService,
        record: Record,
        who: Identity,
        new_nonce: Callable[[], str],
        now: Callable[[], float],
    ) -> None:
        """`new_nonce` gives what nobody can guess; `now` is Unix time in seconds, as the desk's."""
        self._desk, self._record, self._who = desk, record, who
        self._rounds = RoundTrips(desk, who.agent, new_nonce, now)
        self._descriptions = ToolDescriptions()
        self._shared = HoldContext(desk, now)
        self.tasks = TaskService(desk, self._shared, self._carrier, self._answer_back, who.agent)

    async def hold(
        self,
        arrival: HeldRequest,
        decisions: tuple[Decision, ...],
        correlation: str,
        trace: str | None,
    ) -> HttpReply:
        """Answer a request of which `decisions` hold a part, and let the rest go on."""
        to, request = arrival.addressee, arrival.request
        held = next(d for d in decisions if not d.goes_on)
        workflow = arrival.gate.config.approval[held.workflow or ""]
        kind = manner(request, arrival.header("mcp-protocol-version"))
        try:
            state = await self._rounds.brought(arrival)
            if state is not None and state.answers:
                return self._leg(arrival, decisions, state)
            approval = await self._desk.find(state.approval) if state is not None else None
            if approval is None:
                pairs = zip(request.targets, decisions, strict=True)
                call = self._call(arrival, kind, [t for t, d in pairs if not d.goes_on])
                asked = self._asked(arrival, held, workflow, correlation, trace)
                approval = await self._desk.open(call, asked, workflow)
        except Forged as error:
            return json_reply(answers.error(request.id, message.INVALID_PARAMS, str(error)))
        except OpenRefused as refused:
            said = approval_texts.not_asked(
                to.subject, refused.kind, refused.reason, refused.retry_after
            )
            return json_reply(answers.told(to, said.code, said.text, said.facts))
        except StoreUnavailable as error:
            said = approval_texts.not_asked(to.subject, "store", str(error), None)
            return json_reply(answers.told(to, said.code, said.text, said.facts))
        if kind in (WaitMode.TASK, WaitMode.LEGACY_TASK):
            return json_reply(await self.tasks.created(approval, to))
        number = state.round + 1 if state is not None else 1
        waiter = Waiter(
            to=to,
            session=arrival.header("mcp-session-id"),
            credential=arrival.credential,
            token=rewrite.token_of(request.params),
            seconds=workflow.hold if kind is WaitMode.ROUNDS else None,
            turn=Turn(self._rounds, arrival, number),
            # In the earlier revisions a disconnect is not a cancel.
            polite=not to.modern and workflow.on_disconnect is OnDisconnect.CANCEL,
        )
        carriers = partial(self._carrier, arrival)
        return await self._stream(arrival, HeldStream(self._shared, approval, waiter, carriers))

    async def edit(self, arrival: HeldRequest) -> Edit | None:
        """What becomes of the server's reply to a request that passes; None: nothing."""
        request, gate = arrival.request, arrival.gate
        if not gate.config.approval or gate.config.governance.mode is Mode.OBSERVE:
            return None
        legacy = not request.modern
        match request.method:
            case "initialize" | "server/discover" as method:
                return partial(capabilities.advertised, method=method)
            case "tools/list":
                version = arrival.header("mcp-protocol-version")
                return partial(self._listed, arrival, legacy and version == capabilities.LEGACY)
            case "tasks/list" if legacy and "cursor" not in request.params:
                ours = await self.tasks.list(arrival)
                return lambda theirs: tasks.listed(ours, request.id, theirs)
            case "tasks/get" | "tasks/result" | "tasks/cancel" if legacy:
                return lambda told: tasks.unknown(told, request.id)
        return None

    def _listed(self, arrival: HeldRequest, annotate: bool, listing: bytes) -> bytes:
        source = arrival.source
        self._descriptions.learn(source.id, listing)
        if not annotate:
            return listing
        holds = partial(arrival.gate.may_hold, source, Kind.TOOL)
        return capabilities.annotated(listing, holds)

    @property
    def held(self) -> int:
        """How many requests are held on their streams now."""
        return len(self._shared.callers)

    async def answered(
        self, arrival: HeldRequest, decisions: tuple[Decision, ...]
    ) -> HttpReply | None:
        """Answer a request that may go on; None if it is none of ours.

        It may ask for a task of ours, or bring a state of ours, which its server never gave.
        """
        try:
            if not decisions:
                return await self.tasks.reply(arrival)
            state = await self._rounds.brought(arrival)
        except Forged as error:
            return json_reply(answers.error(arrival.request.id, message.INVALID_PARAMS, str(error)))
        except StoreUnavailable as error:
            said = approval_texts.not_asked(arrival.addressee.subject, "store", str(error), None)
            return json_reply(answers.error(arrival.request.id, said.code, said.text))
        return self._leg(arrival, decisions, state) if state is not None else None

    def taken_back(self, note: Notification, head: Head) -> Edit | None:
        """Take note of a `notifications/cancelled`; gives what its server shall read.

        None: it is about a request that no server has seen, and that has ended now.
        """
        credential = call_digest.credential(head.header("authorization"))
        session, id = head.header("mcp-session-id"), note.params.get("requestId")
        caller = self._shared.callers.find(id, session, credential)
        if caller is None:
            return _as_it_is
        sent = caller.sent_id()
        if sent is None:
            caller.take_back()
            return None
        if sent == id:
            return _as_it_is
        return lambda body: raw_json.put(body, ("params", "requestId"), sent)

    def _carrier(self, arrival: HeldRequest, approval: Approval) -> ServerCall:
        """Who would send an approved call with the headers of `arrival`."""
        exchange = arrival.exchange(arrival.calling(approval.call.headers))
        return ServerCall(exchange, arrival.gate.config.limits.listing_reply_bytes)

    async def _stream(self, arrival: HeldRequest, held: HeldStream) -> HttpReply:
        """The reply of a held request; at its end alone if its client cannot take events."""
        reply = held.reply()
        accepts = [value for key, value in arrival.head.upstream if key == "accept"]
        if not accepts or any(k in v.lower() for v in accepts for k in _EVENTS):
            return reply
        assert not isinstance(reply.body, bytes)  # noqa: S101  it is a stream
        splitter, last = Splitter(arrival.gate.config.limits.listing_reply_bytes * 2), b""
        try:
            async for piece in reply.body:
                for one in splitter.feed(piece):
                    last = data_of(one) or last
        finally:
            reply.close()
        return json_reply(last) if last else HttpReply(202)

    def _call(self, arrival: HeldRequest, kind: WaitMode, targets: Sequence[Target]) -> Call:
        """What is to be approved; `targets` are those parts of it that are held."""
        request, body = arrival.request, arrival.body
        if kind is WaitMode.LEGACY_TASK:
            # The task is ours. A server without tasks must not care (2025-11-25, "Task Support and
            # Handling"), and one with tasks would make a second one of it.
            body = without(body, "task")
        if str(request.params.get("requestState", "")).startswith(call_digest.OUR_STATE):
            body = without(body, "requestState")
        first, more = targets[0], len(targets) - 1
        return Call(
            principal=self._who.agent,
            source=arrival.source.id,
            method=request.method,
            kind=first.kind,
            name=f"{first.name} and {more} more" if more else first.name,
            target=arrival.target,
            body=body,
            digest=self._rounds.digest(arrival, body),
            credential=arrival.credential,
            headers=arrival.of_call,
        )

    def _asked(
        self,
        arrival: HeldRequest,
        held: Decision,
        workflow: Workflow,
        correlation: str,
        trace: str | None,
    ) -> Asked:
        name = arrival.request.targets[0].name
        is_tool = arrival.request.method == "tools/call"
        return Asked(
            workflow=held.workflow or "",
            adapter=workflow.adapter,
            reason=held.reason,
            gate=held.gate.value,
            rule=held.rule,
            match=held.match,
            policies=held.policies,
            config=held.config,
            description=self._descriptions.of(arrival.source.id, name) if is_tool else None,
            namespace=self._who.namespace,
            pod=self._who.pod,
            correlation=correlation,
            traceparent=trace,
        )

    def _leg(
        self, arrival: HeldRequest, decisions: tuple[Decision, ...], state: RequestState
    ) -> HttpReply:
        """Send on what a client brings back: an answer to the server's own question."""
        server = state.server if state.answers else None
        body = without(arrival.body, "requestState")
        if server is not None:
            body = raw_json.put(body, ("params", "requestState"), server)
        if state.answers:
            self._log_answers(arrival, state.approval)
        allowed = tuple(d if d.goes_on else _approved(d, state.approval) for d in decisions)
        permit = arrival.gate.permit(arrival.source, "POST", arrival.target, body, allowed)
        wrap = partial(self._rounds.wrapped, arrival, state.approval, state.round + 1)
        carrier = ServerCall(
            arrival.exchange(arrival.head), arrival.gate.config.limits.listing_reply_bytes
        )
        token = rewrite.token_of(arrival.request.params)
        return FollowUp(carrier, permit, arrival.addressee, token, wrap).reply()

    async def _answer_back(self, arrival: HeldRequest, approval: Approval, task: Task) -> bytes:
        """Send what `tasks/update` brings to the server that asked back; gives its response."""
        call, given = approval.call, raw_json.at(arrival.body, "params", "inputResponses")
        body = raw_json.put(call.body, ("params", "inputResponses"), msgspec.Raw(given or b"{}"))
        if (state := rewrite.server_state(task.response or b"")) is not None:
            body = raw_json.put(body, ("params", "requestState"), state)
        request = message.read(body, max_batch=1)
        assert isinstance(request, Request)  # noqa: S101  it was one when it was approved
        now = asyncio.get_running_loop().time()
        decisions = arrival.gate.judge(arrival.source, request, now, again=True)
        to = Addressee.of(request, arrival.gate.config.governance.deny_as)
        if denied := [d for d in decisions if d.outcome is Outcome.DENY and not d.goes_on]:
            correlation = approval.asked.correlation
            return answers.refusal(request, denied[0], correlation, to.deny_as)
        self._log_answers(arrival, approval.id)
        allowed = tuple(d if d.goes_on else _approved(d, approval.id) for d in decisions)
        permit = arrival.gate.permit(arrival.source, "POST", call.target, body, allowed)
        return await FollowUp(
            self._carrier(arrival, approval), permit, to, None, _as_it_is
        ).response()

    def _log_answers(self, arrival: HeldRequest, approval: str) -> None:
        """Write down what a client answered to the server of an approved call."""
        given = raw_json.at(arrival.body, "params", "inputResponses") or b"{}"
        facts: dict[str, Any] = {"input_responses": given.decode(errors="replace")}
        if arrival.gate.config.audit.arguments is AuditArguments.DIGEST:
            facts = {"input_responses_digest": self._record.arguments_digest(given)}
        self._record.log.always(
            "approval", type="audit", step="answers", approval=approval, **facts
        )


def _approved(decision: Decision, approval: str) -> Decision:
    reason = f"a human approved the call (approval {approval}), and its server asked back"
    return replace(decision, outcome=Outcome.FORWARD, gate=Gate.APPROVAL, reason=reason)


def _as_it_is(response: bytes) -> bytes:
    return response
