"""What the client reads when a call is not simply forwarded, as its protocol revision says it."""

import math
from dataclasses import dataclass
from typing import Any

import msgspec
import orjson

from thoughtgate_proxy.core.config.values import DenyAs
from thoughtgate_proxy.core.policy.decision import Decision, Gate
from thoughtgate_proxy.core.protocol import message
from thoughtgate_proxy.core.protocol.message import Id, Request

DECISION_META = "io.thoughtgate/decision"

# JSON-RPC error codes of our own, outside the band that the specification reserves.
RULE_DENIED, CEDAR_DENIED, REJECTED, TIMED_OUT = 40301, 40302, 40303, 40304
LIMITED, UPSTREAM_DOWN, UPSTREAM_TIMED_OUT = 42901, 50201, 50401
OVERLOADED = 50301
HEADER_MISMATCH = -32020

_CODES = {
    Gate.FREEZE: RULE_DENIED,
    Gate.RULES: RULE_DENIED,
    Gate.LIMIT: LIMITED,
    Gate.CEDAR: CEDAR_DENIED,
    Gate.APPROVAL: RULE_DENIED,
    Gate.VISIBILITY: message.INVALID_PARAMS,
}
_ADVICE = {
    Gate.FREEZE: "Asking again will not help until the operator lifts it.",
    Gate.RULES: "Asking again will not help: do without this call, or tell the user.",
    Gate.CEDAR: "Asking again with the same arguments will not help.",
    Gate.APPROVAL: "Nobody was asked, and nobody has refused it.",
}
# A subscription may name a thousand.
_MOST_NAMES = 3


def error(id: Id | None, code: int, text: str, data: dict[str, Any] | None = None) -> bytes:
    """A JSON-RPC error response."""
    body: dict[str, Any] = {"code": code, "message": text}
    if data:
        body["data"] = data
    return orjson.dumps({"jsonrpc": "2.0", "id": id, "error": body})


def result(id: Id, value: dict[str, Any]) -> bytes:
    """A JSON-RPC result; parts of `value` may be raw JSON (`msgspec.Raw`)."""
    return msgspec.json.encode({"jsonrpc": "2.0", "id": id, "result": value})


def refusal(request: Request, decision: Decision, correlation: str, deny_as: DenyAs) -> bytes:
    """The answer to a request that a gate did not let through.

    A refused `tools/call` is a result that a model can read, unless `deny_as` wants an error;
    whatever is hidden answers as the specification has it for what does not exist.
    """
    if decision.gate is Gate.VISIBILITY:
        return error(request.id, message.INVALID_PARAMS, decision.reason)
    text = f"ThoughtGate refused {subject(request)}: {decision.reason}. {_advice(decision)}"
    facts = {**decision.facts(), "correlation_id": correlation}
    return text_response(Addressee.of(request, deny_as), _CODES[decision.gate], text, facts)


@dataclass(frozen=True, slots=True)
class Addressee:
    """Who is answered: a request, by what matters to the form of an answer in our own words.

    `method` is what was asked for, even where a task is asked for its result; `subject` names what
    it reaches for.
    """

    id: Id
    method: str
    modern: bool
    deny_as: DenyAs
    subject: str

    @classmethod
    def of(cls, request: Request, deny_as: DenyAs) -> "Addressee":
        """Whoever sent `request`."""
        return cls(request.id, request.method, request.modern, deny_as, subject(request))


def text_response(to: Addressee, code: int, text: str, facts: dict[str, Any]) -> bytes:
    """`text` in place of a reply: for a call a result that a model can read, else an error.

    `facts` are about the decision; `deny_as` may want an error for calls too.
    """
    if to.method != "tools/call" or to.deny_as is DenyAs.ERROR:
        return error(to.id, code, text, {DECISION_META: facts})
    value: dict[str, Any] = {
        "content": [{"type": "text", "text": text}],
        "isError": True,
        "_meta": {DECISION_META: facts},
    }
    if to.modern:
        value = {"resultType": "complete", **value}
    return orjson.dumps({"jsonrpc": "2.0", "id": to.id, "result": value})


def _advice(decision: Decision) -> str:
    if decision.retry_after is not None:
        return f"It can be asked again in {math.ceil(decision.retry_after)} s."
    return _ADVICE[decision.gate]


def subject(request: Request) -> str:
    """What a request reaches for, to be named in a sentence."""
    names = [f"`{target.name[:200]}`" for target in request.targets[:_MOST_NAMES]]
    if more := len(request.targets) - len(names):
        names.append(f"{more} more")
    return ", ".join(names) or f"`{request.method}`"
