"""The reply to an approved call, put where the request that carries it expects it.

What is sent is the call as it was approved, with its own id and progress token. The request that
carries it may be another: a retry, a leg, a task's poll.
"""

import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from thoughtgate_proxy.core.protocol.message import Id
from thoughtgate_proxy.mcp import answers, raw_json
from thoughtgate_proxy.mcp.sse import EventPart, Splitter, data_of, event, with_data

# So small that no step of the server's own can be lost behind ours: it reuses the token, and each
# step must be greater than the one before.
STEP: Final = 1e-6
_SUBSCRIPTION: Final = "io.modelcontextprotocol/subscriptionId"
_MOST_EVENT: Final = 1 << 20
RELATED_TASK: Final = "io.modelcontextprotocol/related-task"

Token = str | int


def progress_token(params: Any) -> Token | None:
    """The progress token in a request's params."""
    token = (params.get("_meta") or {}).get("progressToken") if isinstance(params, dict) else None
    return token if isinstance(token, str) or type(token) is int else None


@dataclass(slots=True)
class Progress:
    """The progress that one request is told: ours while it waits, then the server's."""

    token: Token | None
    last: float = field(default=-math.inf)

    def waiting(self, text: str) -> bytes | None:
        """One step of ours as an event; None where nobody wants to be told."""
        if self.token is None:
            return None
        self.last = STEP if self.last < 0 else self.last + STEP
        params = {"progressToken": self.token, "progress": self.last, "message": text}
        note = {"jsonrpc": "2.0", "method": "notifications/progress", "params": params}
        return event(msgspec.json.encode(note))

    def passed(self, message: bytes, sent: Token | None) -> bytes | None:
        """A message of the server's as an event; None if it is progress that nobody asked for.

        `sent` is the progress token that the server was given.
        """
        if raw_json.value(message, "method") != "notifications/progress":
            return event(message)
        if raw_json.value(message, "params", "progressToken") != sent:
            return event(message)
        if self.token is None:
            return None
        step = raw_json.value(message, "params", "progress")
        if not isinstance(step, int | float) or step <= self.last:
            step = self.last + STEP
            message = raw_json.put(message, ("params", "progress"), step)
        self.last = float(step)
        return event(raw_json.put(message, ("params", "progressToken"), self.token))


def responds_to(message: raw_json.Members, id: Id) -> bool:
    """Whether `message` is the response to the request `id`; ids compare as text.

    Some servers write `"1"` for 1, and `"error": null` beside a result; the SDKs take both.
    """
    has_error = bytes(message.get("error", b"null")) != b"null"
    if "method" in message or ("result" in message) == has_error:
        return False
    found = raw_json.value(message["id"]) if "id" in message else None
    return type(found) in (str, int) and str(found) == str(id)


def with_id(response: bytes, id: Id) -> bytes:
    """A response, to the request `id`."""
    message = raw_json.members(response)
    if message is None or raw_json.value(message.get("id")) == id:
        return response
    return msgspec.json.encode(message | {"id": raw_json.encoded(id)})


def with_shared_note(response: bytes, approval: str) -> bytes:
    """A response that more than one request gets, marked so."""
    note = {"approval": approval, "shared": True}
    if raw_json.at(response, "result") is not None:
        return raw_json.put(response, ("result", "_meta", answers.DECISION_META), note)
    return response


def with_related_task(message: bytes, task: str) -> bytes:
    """A message of a task of revision 2025-11-25, which must name it."""
    where = "result" if raw_json.at(message, "result") is not None else "params"
    if where == "params" and raw_json.at(message, "method") is None:
        return message  # an error has no place for it
    return raw_json.put(message, (where, "_meta", RELATED_TASK), {"taskId": task})


async def with_subscription(
    pieces: AsyncIterator[bytes], sent: Id | None, id: Id
) -> AsyncIterator[bytes]:
    """The stream of the subscription that was asked for as `sent`, as one of the request `id`."""
    if sent == id:
        async for piece in pieces:
            yield piece
        return
    splitter = Splitter(_MOST_EVENT, parts=True)
    async for piece in pieces:
        for one in splitter.feed(piece):
            data = None if isinstance(one, EventPart) else data_of(one)
            yield one if data is None else with_data(one, _subscription(data, sent, id))
    yield splitter.rest


def _subscription(data: bytes, sent: Id | None, id: Id) -> bytes:
    where = ("params", "_meta", _SUBSCRIPTION)
    if raw_json.value(data, *where) == sent:
        return raw_json.put(data, where, id)
    message = raw_json.members(data)
    responds = message is not None and sent is not None and responds_to(message, sent)
    return with_id(data, id) if responds else data


def requires_input(response: bytes) -> bool:
    """Whether the server wants more from the client before it goes on (2026-07-28)."""
    return bool(raw_json.value(response, "result", "resultType") == "input_required")


def request_state(response: bytes) -> str | None:
    """The `requestState` of a response that asks back."""
    state = raw_json.value(response, "result", "requestState")
    return state if isinstance(state, str) else None


def with_request_state(response: bytes, state: str) -> bytes:
    """A response that asks back, with our `requestState` in place of the server's."""
    return raw_json.put(response, ("result", "requestState"), state)


def without(request: bytes, *keys: str) -> bytes:
    """A request without some of its params; everything else keeps its bytes."""
    params = raw_json.members(raw_json.at(request, "params") or b"")
    if params is None or not any(key in params for key in keys):
        return request
    kept = {key: value for key, value in params.items() if key not in keys}
    return raw_json.put(request, ("params",), kept)
