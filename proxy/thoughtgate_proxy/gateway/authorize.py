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
from thoughtgate_proxy.telemetry.metrics import known_method
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
            return self._pass(source, read)
        if alone and (reason := headers.mismatch(head, read)) is not None:
            return self._refuse(read, 400, answers.HEADER_MISMATCH, reason)
        if (reason := unknown(read.method, source.passthrough_methods)) is not None:
            status = 400
            if isinstance(read, Request):
                status = 404 if read.modern else 200
            return self._refuse(read, status, message.METHOD_NOT_FOUND, reason)
        if isinstance(read, Request) and read.targets:
            return self._judge(source, head, read, raw, now, alone)
        return self._pass(source, read)

    def _pass(self, source: Source, read: Message) -> UngatedMessage | Refuse:
        """Let a message go on that no gate asks about; not without its line in the log."""
        method = "response" if isinstance(read, Response) else read.method
        if self._record.log.stuck or not self._record.ungated(method, source.id, self._new_id()):
            return self._not_logged(read)
        return UngatedMessage(read)

    def _not_logged(self, read: Message) -> Refuse:
        text = "the log cannot be written, and nothing goes unlogged: try again later"
        method = "" if isinstance(read, Response) else read.method
        self._record.metrics.errors.inc("log_stuck", known_method(method))
        id = read.id if isinstance(read, Request) else None
        return Refuse(503, answers.error(id, answers.OVERLOADED, text))

    def _judge(
        self, source: Source, head: Head, request: Request, raw: bytes, now: float, alone: bool
    ) -> ForwardDecisions | Refuse | Hold:
        most = self._engine.config.limits.batch
        if len(request.targets) > most:
            text = f"the request names {len(request.targets)} resources, allowed are {most}"
            return self._refuse(request, 200, message.INVALID_PARAMS, text, "batch")
        correlation = self._new_id()
        if self._record.log.stuck:
            return self._not_logged(request)
        decisions = self._engine.judge(source, request, now)
        stopped = first_stopped(decisions)
        if stopped is not None:
            decisions = settle_holds(decisions, alone=alone)
            stopped = first_stopped(decisions)
        arguments = bytes(_ARGUMENTS.decode(raw).params.arguments)
        trace = traceparent(request.params, head.header("traceparent"))
        decided = list(zip(request.targets, decisions, strict=True))
        if stopped is not None:
            # The request goes nowhere if one of its targets may not be reached.
            decided = [one for one in decided if not one[1].goes_on]
        logged = self._record.decisions(request, decided, source.id, correlation, arguments, trace)
        if not logged:
            return self._not_logged(request)
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
