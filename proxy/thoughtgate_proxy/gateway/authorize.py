"""Decides each message of the agent: it may go on, or this is its answer."""

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import msgspec

from thoughtgate_proxy.core.config.values import Kind, Source
from thoughtgate_proxy.core.policy.decision import Decision, Gate, Outcome
from thoughtgate_proxy.core.policy.engine import PolicyEngine
from thoughtgate_proxy.core.protocol import headers, message
from thoughtgate_proxy.core.protocol.headers import Head
from thoughtgate_proxy.core.protocol.message import Message, Notification, Request, Response
from thoughtgate_proxy.core.protocol.methods import unknown
from thoughtgate_proxy.core.protocol.trace import traceparent
from thoughtgate_proxy.mcp import answers
from thoughtgate_proxy.telemetry.record import Record


class Forward(msgspec.Struct, frozen=True):
    """The message may be sent, on the strength of `decisions` (none if its method is ungated)."""

    decisions: tuple[Decision, ...] = ()
    status_word: ClassVar[str] = "forwarded"


class Refuse(msgspec.Struct, frozen=True):
    """The message stops here: `body` is the JSON-RPC answer, `status` HTTP's if it stands alone."""

    status: int
    body: bytes
    status_word: ClassVar[str] = "refused"


class Hold(msgspec.Struct, frozen=True):
    """A human must decide first: some of `decisions` hold the request, the others let it go on.

    `correlation` is the id that stands in the log, `trace` the request's `traceparent`.
    """

    decisions: tuple[Decision, ...]
    correlation: str
    trace: str | None
    status_word: ClassVar[str] = "held"


class _Params(msgspec.Struct):
    arguments: msgspec.Raw = msgspec.Raw(b"")


class _RawCall(msgspec.Struct):
    params: _Params


_ARGUMENTS = msgspec.json.Decoder(_RawCall)


_UNGATED = Forward()


class Authorizer:
    """One configuration's decisions on messages for one source, each of them written down."""

    def __init__(
        self, gate: PolicyEngine, source: Source, record: Record, new_id: Callable[[], str]
    ) -> None:
        """`new_id` gives correlation ids."""
        self._gate, self._source, self._record, self._new_id = gate, source, record, new_id

    def judge(
        self, head: Head, read: Message, raw: bytes, now: float, *, alone: bool = True
    ) -> Forward | Refuse | Hold:
        """Judge `read`, whose bytes are `raw`; `alone` is false for a member of a batch.

        `head` has the headers that it came with, `now` is monotonic, in seconds.
        """
        ruling = self._ruling(head, read, raw, now, alone)
        method, name = "", None
        if isinstance(read, Request):
            method, targets = read.method, read.targets
            if targets and targets[0].kind is Kind.TOOL:
                name = targets[0].name
        elif isinstance(read, Notification):
            method = read.method
        self._record.metrics.request(method, name, ruling.status_word)
        return ruling

    def _ruling(
        self, head: Head, read: Message, raw: bytes, now: float, alone: bool
    ) -> Forward | Refuse | Hold:
        passed = self._source.passthrough_methods
        match read:
            case Request():
                if alone and (told := headers.mismatch(head, read)) is not None:
                    return self._refused(read, 400, answers.HEADER_MISMATCH, told)
                if (why := unknown(read.method, passed)) is not None:
                    status = 404 if read.modern else 200
                    return self._refused(read, status, message.METHOD_NOT_FOUND, why)
                return self._gated(head, read, raw, now, alone) if read.targets else _UNGATED
            case Notification():
                if alone and (told := headers.mismatch(head, read)) is not None:
                    return self._refused(read, 400, answers.HEADER_MISMATCH, told)
                if (why := unknown(read.method, passed)) is not None:
                    return self._refused(read, 400, message.METHOD_NOT_FOUND, why)
                return _UNGATED
            case Response():
                return _UNGATED

    def _gated(
        self, head: Head, read: Request, raw: bytes, now: float, alone: bool
    ) -> Forward | Refuse | Hold:
        most = self._gate.config.limits.batch
        if len(read.targets) > most:
            text = f"the request names {len(read.targets)} resources, allowed are {most}"
            return self._refused(read, 200, message.INVALID_PARAMS, text, "batch")
        correlation = self._new_id()
        if self._record.log.stuck:
            text = "the log cannot be written, and no call goes unlogged: try again later"
            self._record.metrics.errors.inc("log_stuck", read.method)
            return Refuse(503, answers.error(read.id, answers.OVERLOADED, text))
        judged = self._gate.judge(self._source, read, now)
        stopped = _first_stopped(judged)
        if stopped is not None:
            judged = _settled(judged, alone)
            stopped = _first_stopped(judged)
        arguments = bytes(_ARGUMENTS.decode(raw).params.arguments)
        trace = traceparent(read.params, head.header("traceparent"))
        for target, decision in zip(read.targets, judged, strict=True):
            if stopped is not None and decision.goes_on:
                # The request goes nowhere if one of its targets may not be reached.
                continue
            self._record.decision(
                read, target, self._source.id, decision, correlation, arguments,
                trace,
            )  # fmt: skip
        if stopped is None:
            return Forward(judged)
        if stopped.outcome is Outcome.HOLD:
            return Hold(judged, correlation, trace)
        deny_as = self._gate.config.governance.deny_as
        return Refuse(200, answers.refusal(read, stopped, correlation, deny_as))

    def _refused(
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


def _settled(judged: tuple[Decision, ...], alone: bool) -> tuple[Decision, ...]:
    """The same, with no hold among them that cannot be waited for."""
    workflows = {d.workflow for d in judged if d.outcome is Outcome.HOLD and not d.observed}
    why = None
    if not alone:
        why = "which no batch can wait for: send it alone"
    elif len(workflows) > 1:
        why = "and other approvers for other parts of the request: ask for each part alone"
    if why is None:
        return judged
    return tuple([_refused_hold(decision, why) for decision in judged])


def _refused_hold(decision: Decision, why: str) -> Decision:
    if decision.outcome is not Outcome.HOLD or decision.observed:
        return decision
    reason = f"{decision.reason}, {why}"
    return dataclasses.replace(decision, outcome=Outcome.DENY, gate=Gate.APPROVAL, reason=reason)


def _first_stopped(judged: tuple[Decision, ...]) -> Decision | None:
    """Why it does not go on: a denial wins over a hold."""
    held = None
    for decision in judged:
        if not decision.goes_on:
            if decision.outcome is Outcome.DENY:
                return decision
            held = held or decision
    return held
