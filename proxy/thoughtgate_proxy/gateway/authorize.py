"""Decides each message of the agent: it may go on, or this is its answer."""

from collections.abc import Callable

import msgspec

from thoughtgate_proxy.core.config.values import Kind, Source
from thoughtgate_proxy.core.policy.decision import (
    Decision,
    Outcome,
    first_stopped,
    settle_holds,
)
from thoughtgate_proxy.core.policy.engine import PolicyEngine
from thoughtgate_proxy.core.policy.permit import ForwardDecisions, MessageGrounds, UngatedMessage
from thoughtgate_proxy.core.protocol import headers, message
from thoughtgate_proxy.core.protocol.headers import Head
from thoughtgate_proxy.core.protocol.message import Message, Notification, Request, Response
from thoughtgate_proxy.core.protocol.methods import unknown
from thoughtgate_proxy.core.protocol.trace import traceparent
from thoughtgate_proxy.mcp import answers
from thoughtgate_proxy.telemetry.record import Record


class Refuse(msgspec.Struct, frozen=True):
    """The message stops here: `body` is the JSON-RPC answer, `status` HTTP's if it stands alone."""

    status: int
    body: bytes


class Hold(msgspec.Struct, frozen=True):
    """A human must decide first: some of `decisions` hold the request, the others let it go on.

    `correlation` is the id that stands in the log, `trace` the request's `traceparent`.
    """

    decisions: tuple[Decision, ...]
    correlation: str
    trace: str | None


class _Params(msgspec.Struct):
    arguments: msgspec.Raw = msgspec.Raw(b"")


class _RawCall(msgspec.Struct):
    params: _Params


_ARGUMENTS = msgspec.json.Decoder(_RawCall)
_STATUS_WORDS = {
    UngatedMessage: "forwarded", ForwardDecisions: "forwarded", Refuse: "refused", Hold: "held",
}  # fmt: skip


class Authorizer:
    """One configuration's decisions on messages, each of them written down."""

    def __init__(self, engine: PolicyEngine, record: Record, new_id: Callable[[], str]) -> None:
        """`new_id` gives correlation ids."""
        self._engine, self._record, self._new_id = engine, record, new_id

    def authorize(
        self,
        source: Source,
        head: Head,
        read: Message,
        raw: bytes,
        now: float,
        *,
        alone: bool = True,
    ) -> MessageGrounds | Refuse | Hold:
        """Judge `read`, whose bytes are `raw`; `alone` is false for a member of a batch.

        `head` has the headers that it came with, `now` is monotonic, in seconds. The grounds are
        what a permit is given on.
        """
        verdict = self._verdict(source, head, read, raw, now, alone)
        method, name = "", None
        if isinstance(read, Request):
            method, targets = read.method, read.targets
            if targets and targets[0].kind is Kind.TOOL:
                name = targets[0].name
        elif isinstance(read, Notification):
            method = read.method
        self._record.metrics.request(method, name, _STATUS_WORDS[type(verdict)])
        return verdict

    def _verdict(
        self, source: Source, head: Head, read: Message, raw: bytes, now: float, alone: bool
    ) -> MessageGrounds | Refuse | Hold:
        if isinstance(read, Response):
            return UngatedMessage(read)
        if alone and (reason := headers.mismatch(head, read)) is not None:
            return self._refuse(read, 400, answers.HEADER_MISMATCH, reason)
        if (reason := unknown(read.method, source.passthrough_methods)) is not None:
            status = 400
            if isinstance(read, Request):
                status = 404 if read.modern else 200
            return self._refuse(read, status, message.METHOD_NOT_FOUND, reason)
        if isinstance(read, Request) and read.targets:
            return self._judge(source, head, read, raw, now, alone)
        return UngatedMessage(read)

    def _judge(
        self, source: Source, head: Head, request: Request, raw: bytes, now: float, alone: bool
    ) -> ForwardDecisions | Refuse | Hold:
        most = self._engine.config.limits.batch
        if len(request.targets) > most:
            text = f"the request names {len(request.targets)} resources, allowed are {most}"
            return self._refuse(request, 200, message.INVALID_PARAMS, text, "batch")
        correlation = self._new_id()
        if self._record.log.stuck:
            text = "the log cannot be written, and no call goes unlogged: try again later"
            self._record.metrics.errors.inc("log_stuck", request.method)
            return Refuse(503, answers.error(request.id, answers.OVERLOADED, text))
        decisions = self._engine.judge(source, request, now)
        stopped = first_stopped(decisions)
        if stopped is not None:
            decisions = settle_holds(decisions, alone=alone)
            stopped = first_stopped(decisions)
        arguments = bytes(_ARGUMENTS.decode(raw).params.arguments)
        trace = traceparent(request.params, head.header("traceparent"))
        for target, decision in zip(request.targets, decisions, strict=True):
            if stopped is not None and decision.goes_on:
                # The request goes nowhere if one of its targets may not be reached.
                continue
            self._record.decision(
                request, target, source.id, decision, correlation, arguments, trace
            )
        if stopped is None:
            return ForwardDecisions(decisions)
        if stopped.outcome is Outcome.HOLD:
            return Hold(decisions, correlation, trace)
        deny_as = self._engine.config.governance.deny_as
        return Refuse(200, answers.refusal(request, stopped, correlation, deny_as))

    def _refuse(
        self,
        read: Request | Notification,
        status: int,
        code: int,
        reason: str,
        limit: str | None = None,
    ) -> Refuse:
        self._record.refused(self._new_id(), status, reason, read.method, limit)
        id = read.id if isinstance(read, Request) else None
        return Refuse(status, answers.error(id, code, reason))
