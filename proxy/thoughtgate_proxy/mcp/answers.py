"""What the client reads when a call is not simply forwarded, as its protocol revision says it."""

import math
from typing import Any

import orjson

from thoughtgate_proxy.core import message
from thoughtgate_proxy.core.config.values import DenyAs
from thoughtgate_proxy.core.decision import Decision, Gate
from thoughtgate_proxy.core.message import Id, Request

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
    Gate.APPROVAL: REJECTED,
    Gate.VISIBILITY: message.INVALID_PARAMS,
}
_ADVICE = {
    Gate.FREEZE: "Asking again will not help until the operator lifts it.",
    Gate.RULES: "Asking again will not help: do without this call, or tell the user.",
    Gate.CEDAR: "Asking again with the same arguments will not help.",
    Gate.APPROVAL: "Asking again will not help until an approver is set up: tell the user.",
}
# A subscription may name a thousand.
_MOST_NAMES = 3


def error(id: Id | None, code: int, text: str, data: dict[str, Any] | None = None) -> bytes:
    """A JSON-RPC error response."""
    body: dict[str, Any] = {"code": code, "message": text}
    if data:
        body["data"] = data
    return orjson.dumps({"jsonrpc": "2.0", "id": id, "error": body})


def refusal(request: Request, decision: Decision, correlation: str, deny_as: DenyAs) -> bytes:
    """The answer to a request that a gate did not let through.

    A refused `tools/call` is a result that a model can read, unless `deny_as` wants an error;
    whatever is hidden answers as the specification has it for what does not exist.
    """
    if decision.gate is Gate.VISIBILITY:
        return error(request.id, message.INVALID_PARAMS, decision.reason)
    subject = _subject(request)
    text = f"ThoughtGate refused {subject}: {decision.reason}. {_advice(decision)}"
    facts = {**decision.facts(), "correlation_id": correlation}
    if request.method != "tools/call" or deny_as is DenyAs.ERROR:
        return error(request.id, _CODES[decision.gate], text, {DECISION_META: facts})
    result: dict[str, Any] = {
        "content": [{"type": "text", "text": text}],
        "isError": True,
        "_meta": {DECISION_META: facts},
    }
    if request.modern:
        result = {"resultType": "complete", **result}
    return orjson.dumps({"jsonrpc": "2.0", "id": request.id, "result": result})


def _advice(decision: Decision) -> str:
    if decision.retry_after is not None:
        return f"It can be asked again in {math.ceil(decision.retry_after)} s."
    return _ADVICE[decision.gate]


def _subject(request: Request) -> str:
    names = [f"`{target.name[:200]}`" for target in request.targets[:_MOST_NAMES]]
    if more := len(request.targets) - len(names):
        names.append(f"{more} more")
    return ", ".join(names) or f"`{request.method}`"
