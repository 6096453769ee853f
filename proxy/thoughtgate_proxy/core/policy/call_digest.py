"""The digest that binds an approval to one exact call of one caller.

White space and the order of keys do not matter to it, every value does. A number is its own text:
RFC 8785 would make doubles of numbers, and one call of 9007199254740993 and 9007199254740992.
"""

import hashlib
import json
from collections.abc import Sequence
from typing import Any, Final

from thoughtgate_proxy.core.protocol import strict_json
from thoughtgate_proxy.core.protocol.strict_json import NumberText

OUR_STATE = "tg1."
"""What each `requestState` of our own making begins with."""

_VERSION = b"thoughtgate exact call 1"
_TRANSPORT_META: Final = frozenset(("progressToken", "traceparent", "tracestate", "baggage"))
_PROTOCOL_META: Final = "io.modelcontextprotocol/"
# It would name a task of ours to a server that knows none.
_RELATED_TASK: Final = "io.modelcontextprotocol/related-task"
# What a client brings to a server that asked back (2026-07-28, multi round-trip requests).
_ANSWERS = ("inputResponses", "requestState")


def credential(authorization: str | None) -> str:
    """What is kept of a request's `Authorization`: its SHA-256 in hex, "" where it had none."""
    return "" if authorization is None else hashlib.sha256(_bytes(authorization)).hexdigest()


def of_carrier(key: str) -> bool:
    """Whether a key of `_meta` is about the sending itself, so the carrying request's own is sent.

    These are the progress token, the trace context, and what the protocol itself puts there.
    """
    return key in _TRANSPORT_META or (key.startswith(_PROTOCOL_META) and key != _RELATED_TASK)


def digest(
    *,
    principal: str,
    source: str,
    target: str,
    body: bytes,
    credential: str,
    bind_meta: Sequence[str] = (),
) -> str:
    """The digest (SHA-256, in hex) of the JSON-RPC request `body`.

    Bound are `principal`, `source`, the HTTP request `target`, the method, what `bound_params`
    leaves of the params with the keys `bind_meta` of `_meta`, and the `credential`. Raises
    `UnreadableJSON`, and `ValueError` if `body` is no request.
    """
    message = _request(body)
    digest = hashlib.sha256()
    for field in (
        _VERSION,
        _bytes(principal),
        _bytes(source),
        _bytes(target),
        _bytes(message["method"]),
        canonical(bound_params(message, bind_meta)),
        _bytes(credential),
    ):
        # With its length before it, no byte can be moved from one field to the next.
        digest.update(len(field).to_bytes(8, "big"))
        digest.update(field)
    return digest.hexdigest()


def bound_params(message: dict[str, Any], bind_meta: Sequence[str] = ()) -> dict[str, Any]:
    """The params of a request without what may differ from one sending to the next.

    Left out are `_meta` but for its keys `bind_meta`, since clients write keys of their own anew
    at each try, and a `requestState` of our own.
    """
    params = dict(message.get("params") or {})
    meta = params.pop("_meta", None)
    if isinstance(meta, dict):
        if kept := {key: value for key, value in meta.items() if key in bind_meta}:
            params["_meta"] = kept
    elif meta is not None:
        params["_meta"] = meta
    state = params.get("requestState")
    if isinstance(state, str) and state.startswith(OUR_STATE):
        del params["requestState"]
    return params


def without_answers(body: bytes) -> tuple[str, bytes]:
    """Method and bound params of a request but for what answers its server's own question.

    Equal for a call and for what is sent on when the server has asked back: the stored `_meta` is
    in it, but for what is `of_carrier`. Raises as `digest` does.
    """
    message = _without_carrier_meta(_request(body))
    params = message.get("params") or {}
    kept = {key: value for key, value in params.items() if key not in _ANSWERS}
    return message["method"], canonical(kept)


def without_carrier_meta(body: bytes) -> bytes:
    """The whole request as canonical JSON, but for what of its `_meta` is `of_carrier`.

    Equal for a call and for what is sent of it by whichever request. Raises `UnreadableJSON`.
    """
    message = strict_json.as_written(body)
    return canonical(_without_carrier_meta(message) if isinstance(message, dict) else message)


def canonical(value: Any) -> bytes:
    """One text for each value that `strict_json.as_written` gives: keys sorted, no white space."""
    return _canonical(value).encode("ascii")


def _without_carrier_meta(message: dict[str, Any]) -> dict[str, Any]:
    params = dict(message.get("params") or {})
    meta = params.pop("_meta", None)
    if isinstance(meta, dict):
        meta = {key: value for key, value in meta.items() if not of_carrier(key)}
    if meta:
        params["_meta"] = meta
    return {**message, "params": params}


def _request(body: bytes) -> dict[str, Any]:
    message = strict_json.as_written(body)
    if not isinstance(message, dict) or not isinstance(message.get("method"), str):
        raise ValueError("the body is no JSON-RPC request")  # noqa: TRY004  a value from outside
    return message


def _canonical(value: Any) -> str:
    match value:
        case NumberText(number):
            return number
        case dict():
            members = (f"{json.dumps(key)}:{_canonical(value[key])}" for key in sorted(value))
            return f"{{{','.join(members)}}}"
        case list():
            return f"[{','.join(map(_canonical, value))}]"
        case _:
            return json.dumps(value)


def _bytes(text: str) -> bytes:
    # A header's bytes that are no UTF-8 are lone surrogates here.
    return text.encode("utf-8", "surrogatepass")
