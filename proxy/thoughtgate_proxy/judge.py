"""Decides each message of the agent: it may go on, or this is its answer."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from thoughtgate_proxy.core import headers, message
from thoughtgate_proxy.core.config.values import Kind, Source
from thoughtgate_proxy.core.decision import NO_APPROVER, Decision, Gate, Outcome
from thoughtgate_proxy.core.gate import Gatekeeper
from thoughtgate_proxy.core.http import HttpRequest
from thoughtgate_proxy.core.message import Message, Notification, Request, Response
from thoughtgate_proxy.core.methods import unknown
from thoughtgate_proxy.mcp import answers
from thoughtgate_proxy.telemetry.record import Record


@dataclass(frozen=True, slots=True)
class GoesOn:
    """The message may be sent, on the strength of `decisions` (none if its method is ungated)."""

    decisions: tuple[Decision, ...] = ()
    status_word = "forwarded"


@dataclass(frozen=True, slots=True)
class Answered:
    """The message stops here: `body` is the JSON-RPC answer, `status` HTTP's if it stands alone."""

    status: int
    body: bytes
    status_word = "refused"


class _Params(msgspec.Struct):
    arguments: msgspec.Raw = msgspec.Raw(b"")


class _Call(msgspec.Struct):
    params: _Params


_ARGUMENTS = msgspec.json.Decoder(_Call)


class Judge:
    """One configuration's decisions on messages, each of them written down."""

    def __init__(self, gate: Gatekeeper, record: Record, new_id: Callable[[], str]) -> None:
        """`new_id` gives correlation ids."""
        self._gate, self._record, self._new_id = gate, record, new_id

    def judge(
        self,
        source: Source,
        http: HttpRequest,
        read: Message,
        raw: bytes,
        now: float,
        *,
        alone: bool = True,
    ) -> GoesOn | Answered:
        """Judge `read`, whose bytes are `raw`; `alone` is false for a member of a batch."""
        ruling = self._ruling(source, http, read, raw, now, alone)
        method = "" if isinstance(read, Response) else read.method
        targets = read.targets if isinstance(read, Request) else ()
        name = targets[0].name if targets and targets[0].kind is Kind.TOOL else None
        self._record.metrics.request(method, name, ruling.status_word)
        return ruling

    def _ruling(
        self, source: Source, http: HttpRequest, read: Message, raw: bytes, now: float, alone: bool
    ) -> GoesOn | Answered:
        match read:
            case Response():
                return GoesOn()
            case Notification():
                if alone and (told := headers.mismatch(http, read)) is not None:
                    return self._refused(read, 400, answers.HEADER_MISMATCH, told)
                if (why := unknown(read.method, source.passthrough_methods)) is not None:
                    return self._refused(read, 400, message.METHOD_NOT_FOUND, why)
                return GoesOn()
            case Request():
                if alone and (told := headers.mismatch(http, read)) is not None:
                    return self._refused(read, 400, answers.HEADER_MISMATCH, told)
                if (why := unknown(read.method, source.passthrough_methods)) is not None:
                    status = 404 if read.modern else 200
                    return self._refused(read, status, message.METHOD_NOT_FOUND, why)
                return (
                    self._gated(source, http, read, raw, now, alone) if read.targets else GoesOn()
                )

    def _gated(
        self, source: Source, http: HttpRequest, read: Request, raw: bytes, now: float, alone: bool
    ) -> GoesOn | Answered:
        most = self._gate.config.limits.batch
        if len(read.targets) > most:
            text = f"the request names {len(read.targets)} resources, allowed are {most}"
            return self._refused(read, 200, message.INVALID_PARAMS, text, "batch")
        correlation = self._new_id()
        if self._record.log.stuck:
            text = "the log cannot be written, and no call goes unlogged: try again later"
            self._record.metrics.errors.inc("log_stuck", read.method)
            return Answered(503, answers.error(read.id, answers.OVERLOADED, text))
        judged = tuple(
            self._settled(decision, alone) for decision in self._gate.judge(source, read, now)
        )
        arguments = bytes(_ARGUMENTS.decode(raw).params.arguments)
        meta = read.params.get("_meta") or {}
        trace = http.header("traceparent") or meta.get("traceparent")
        stopped = next((decision for decision in judged if not decision.goes_on), None)
        for target, decision in zip(read.targets, judged, strict=True):
            if stopped is not None and decision.goes_on:
                # The request goes nowhere if one of its targets may not be reached.
                continue
            self._record.decision(
                read, target, source.id, decision, correlation, arguments,
                trace if isinstance(trace, str) else None,
            )  # fmt: skip
        if stopped is None:
            return GoesOn(judged)
        deny_as = self._gate.config.governance.deny_as
        return Answered(200, answers.refusal(read, stopped, correlation, deny_as))

    def _settled(self, decision: Decision, alone: bool) -> Decision:
        """A hold becomes a refusal where nobody can be asked."""
        if decision.outcome is not Outcome.HOLD or decision.observed:
            return decision
        why = NO_APPROVER if alone else "which no batch can wait for: send it alone"
        return dataclasses.replace(
            decision,
            outcome=Outcome.DENY,
            gate=Gate.APPROVAL,
            reason=f"{decision.reason}, {why}",
        )

    def _refused(
        self,
        read: Request | Notification,
        status: int,
        code: int,
        reason: str,
        limit: str | None = None,
    ) -> Answered:
        self._record.refused(self._new_id(), status, reason, read.method, limit)
        id = read.id if isinstance(read, Request) else None
        return Answered(status, answers.error(id, code, reason))
