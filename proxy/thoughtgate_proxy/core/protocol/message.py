"""One reading of a message: a request's body in, messages or one refusal out.

Everything that is decided later is decided on these values, and what is sent upstream are the very
bytes that they were read from.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from thoughtgate_proxy.core.config.values import Kind
from thoughtgate_proxy.core.protocol import strict_json
from thoughtgate_proxy.core.protocol.confusables import KnownKeys
from thoughtgate_proxy.core.protocol.methods import GATED, NOTIFICATIONS
from thoughtgate_proxy.core.protocol.uri import is_plain

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603

PROTOCOL_VERSION = "io.modelcontextprotocol/protocolVersion"
MAX_NAME = 1024
MAX_URI = 8192
# Each is judged, and logged, on its own.
MAX_TARGETS = 1000
# A JavaScript server could not repeat a larger id (ECMA-262, Number.MAX_SAFE_INTEGER).
MAX_ID = 2**53 - 1

_KEYS = {
    "the message": KnownKeys(("jsonrpc", "id", "method", "params", "result", "error")),
    "params": KnownKeys((
        "_meta", "argument", "arguments", "capabilities", "clientInfo", "context", "cursor",
        "inputResponses", "level", "name", "notifications", "progress", "progressToken",
        "protocolVersion", "ref", "requestId", "requestState", "task", "taskId", "uri",
    )),
    "params._meta": KnownKeys((
        "progressToken", "traceparent", "tracestate", "baggage", PROTOCOL_VERSION,
        "io.modelcontextprotocol/clientCapabilities", "io.modelcontextprotocol/clientInfo",
        "io.modelcontextprotocol/logLevel", "io.modelcontextprotocol/related-task",
        "io.modelcontextprotocol/subscriptionId",
    )),
    "params.ref": KnownKeys(("type", "name", "uri")),
    "params.notifications": KnownKeys(("resourceSubscriptions",)),
}  # fmt: skip
_TYPES = {
    type(None): "null or absent", bool: "a boolean", str: "a string", dict: "an object",
    list: "a list", int: "a number",
}  # fmt: skip
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

Id = str | int


class Malformed(ValueError):
    """A message that has no single reading; `code` is JSON-RPC's, `id` the request's if known.

    `limit` is the configuration's key of the limit that it is over, if that is why.
    """

    def __init__(
        self,
        reason: str,
        code: int = INVALID_REQUEST,
        id: Id | None = None,
        limit: str | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason, self.code, self.id, self.limit = reason, code, id, limit

    @property
    def status(self) -> int:
        """HTTP's status: 404 for a method that revision 2026-07-28 does not have."""
        return 404 if self.code == METHOD_NOT_FOUND else 400


class Target(msgspec.Struct, frozen=True):
    """One thing that a gated method reaches for: a tool or prompt by name, a resource by URI."""

    kind: Kind
    name: str


class Request(msgspec.Struct, frozen=True):
    """A JSON-RPC request. `targets` is empty unless the method is gated."""

    id: Id
    method: str
    params: Mapping[str, Any]
    targets: tuple[Target, ...] = ()

    @property
    def modern(self) -> bool:
        """Whether it speaks revision 2026-07-28 or later, which says so in each request."""
        return _modern(self.params)


class Notification(msgspec.Struct, frozen=True):
    """A JSON-RPC notification from the client."""

    method: str
    params: Mapping[str, Any]


class Response(msgspec.Struct, frozen=True):
    """The client's answer to a request of the server's (sampling, elicitation, roots).

    Only an error may come without an id: that of a message whose id could not be read.
    """

    id: Id | None


Message = Request | Notification | Response


@dataclass(frozen=True, slots=True)
class Batch:
    """Several messages in one body (revision 2025-03-26), each with its bytes as they stood."""

    members: tuple[tuple[Message, bytes], ...]


def read(
    body: bytes,
    *,
    max_batch: int,
    max_depth: int = strict_json.MAX_DEPTH,
    max_values: int = strict_json.MAX_VALUES,
) -> Message | Batch:
    """Read the body of a POST. Raises `Malformed`."""
    try:
        value = strict_json.loads(body, max_depth, max_values)
    except strict_json.TooMany as error:
        raise Malformed(str(error), PARSE_ERROR, limit="json_values") from error
    except strict_json.TooDeep as error:
        raise Malformed(str(error), PARSE_ERROR, limit="json_depth") from error
    except strict_json.UnreadableJSON as error:
        raise Malformed(str(error), PARSE_ERROR) from error
    if not isinstance(value, list):
        return _bounded([_message(value)])[0]
    if not value:
        raise Malformed("the batch is empty")
    if len(value) > max_batch:
        reason = f"the batch has {len(value)} messages, allowed are {max_batch}"
        raise Malformed(reason, limit="batch")
    members = _bounded(list(map(_message, value)))
    # As text: clients and servers hold `1` and `"1"` for one.
    ids = [str(member.id) for member in members if isinstance(member, Request)]
    if len(set(ids)) != len(ids):
        raise Malformed("two requests of the batch have the same id")
    raws = msgspec.json.decode(body, type=list[msgspec.Raw])
    return Batch(tuple(zip(members, map(bytes, raws), strict=True)))


def _bounded(messages: list[Message]) -> list[Message]:
    """The messages, unless it would take long to find all forms of their URIs."""
    length = sum(
        len(target.name)
        for one in messages
        if isinstance(one, Request)
        for target in one.targets
        if target.kind is Kind.RESOURCE and not is_plain(target.name)
    )
    if length > MAX_URI:
        raise Malformed(f"URIs with escapes have {length} characters together, allowed {MAX_URI}")
    return messages


def _message(value: Any) -> Message:
    if not isinstance(value, dict):
        raise Malformed(f"a message is {_type(value)}, allowed is an object")
    _no_lookalike(value, "the message")
    if value.get("jsonrpc") != "2.0":
        raise Malformed(f"`jsonrpc` is {_shown(value.get('jsonrpc'))}, allowed is `2.0`")
    if "method" not in value:
        return _response(value)
    if "result" in value or "error" in value:
        raise Malformed("the message has `method` together with `result` or `error`")
    method = value["method"]
    if not isinstance(method, str):
        raise Malformed(f"`method` is {_type(method)}, allowed is a string")
    id = _id(value["id"]) if "id" in value else None
    params = _params(value.get("params"), id)
    if id is None:
        if method in GATED:
            raise Malformed(f"`{method}` without an `id`: it must be a request")
        return Notification(method, params)
    if method in NOTIFICATIONS:
        raise Malformed(f"`{method}` is a notification and carries no `id`", id=id)
    return Request(id, method, params, _targets(method, params, id) if method in GATED else ())


def _response(value: dict[str, Any]) -> Response:
    if ("result" in value) == ("error" in value):
        raise Malformed("the message needs `method`, or one of `result` and `error`")
    if "error" in value and value.get("id") is None:
        return Response(None)
    if "id" not in value:
        raise Malformed("a response without an `id`")
    return Response(_id(value["id"]))


def _id(value: Any) -> Id:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise Malformed(f"`id` is {_type(value)}, allowed is a string or a whole number")
    if isinstance(value, int) and abs(value) > MAX_ID:
        raise Malformed(f"`id` is beyond ±{MAX_ID}, which not every server can repeat")
    return value


def _params(value: Any, id: Id | None) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Malformed(f"`params` is {_type(value)}, allowed is an object", id=id)
    _no_lookalike(value, "params", id)
    meta = value.get("_meta")
    if meta is not None:
        if not isinstance(meta, dict):
            raise Malformed(f"`params._meta` is {_type(meta)}, allowed is an object", id=id)
        _no_lookalike(meta, "params._meta", id)
        version = meta.get(PROTOCOL_VERSION, "")
        if not isinstance(version, str):
            raise Malformed(f"`{PROTOCOL_VERSION}` is {_type(version)}, allowed is a string", id=id)
    return value


def _targets(method: str, params: dict[str, Any], id: Id) -> tuple[Target, ...]:
    arguments = params.get("arguments")
    if arguments is not None and not isinstance(arguments, dict):
        raise _invalid(f"`arguments` is {_type(arguments)}, allowed is an object", id)
    kind = GATED[method]
    if kind is Kind.TOOL or kind is Kind.PROMPT:
        return (_target(kind, params, "name", id),)
    match method:
        case "subscriptions/listen":
            return _subscribed(params.get("notifications"), id)
        case "completion/complete":
            return (_referred(params.get("ref"), id),)
        case "resources/subscribe" if "uri" not in params and _modern(params):
            # Removed in 2026-07-28: its clients hear so whatever else the message lacks.
            reason = "Method not found: `resources/subscribe` is not of revision 2026-07-28"
            raise Malformed(reason, METHOD_NOT_FOUND, id)
        case _ if kind is Kind.RESOURCE:
            return (_target(kind, params, "uri", id),)
        case _:
            raise AssertionError(f"nothing says what `{method}` reaches for")


def _modern(params: Mapping[str, Any]) -> bool:
    return PROTOCOL_VERSION in (params.get("_meta") or {})


def _subscribed(wanted: Any, id: Id) -> tuple[Target, ...]:
    """What `subscriptions/listen` asks to be told of."""
    if wanted is None:
        return ()
    if not isinstance(wanted, dict):
        raise _invalid(f"`notifications` is {_type(wanted)}, not an object", id)
    _no_lookalike(wanted, "params.notifications", id)
    uris = wanted.get("resourceSubscriptions")
    if uris is None:
        return ()
    if not isinstance(uris, list):
        raise _invalid("`resourceSubscriptions` is not a list", id)
    if len(uris) > MAX_TARGETS:
        raise _invalid(
            f"`resourceSubscriptions` has {len(uris)} URIs, allowed are {MAX_TARGETS}", id
        )
    return tuple(
        Target(Kind.RESOURCE, _name(uri, "resourceSubscriptions", MAX_URI, id)) for uri in uris
    )


def _referred(ref: Any, id: Id) -> Target:
    """What `completion/complete` would complete an argument of."""
    if not isinstance(ref, dict):
        raise _invalid(f"`ref` is {_type(ref)}, allowed is an object", id)
    _no_lookalike(ref, "params.ref", id)
    match ref.get("type"):
        case "ref/prompt":
            return _target(Kind.PROMPT, ref, "name", id)
        case "ref/resource":
            return _target(Kind.RESOURCE, ref, "uri", id)
        case other:
            raise _invalid(
                f"`ref.type` is {_shown(other)}, allowed are `ref/prompt` and `ref/resource`", id
            )


def _target(kind: Kind, value: dict[str, Any], key: str, id: Id) -> Target:
    longest = MAX_URI if kind is Kind.RESOURCE else MAX_NAME
    return Target(kind, _name(value.get(key), key, longest, id))


def _name(value: Any, key: str, longest: int, id: Id) -> str:
    if not isinstance(value, str) or not value:
        raise _invalid(f"`{key}` is {_shown(value)}, allowed is a string that is not empty", id)
    if len(value) > longest:
        raise _invalid(f"`{key}` is longer than {longest} characters", id)
    # What is printable in ASCII has none, and that is quickly seen.
    control = not (value.isascii() and value.isprintable()) and _CONTROL.search(value)
    if control or value != value.strip():
        # A URL parser drops them (WHATWG URL, section 4.4), so no glob may be led astray by them.
        raise _invalid(f"`{key}` holds a control character, or begins or ends with a blank", id)
    return value


def _no_lookalike(value: dict[str, Any], where: str, id: Id | None = None) -> None:
    keys = _KEYS[where]
    if keys.hold(value):
        return
    if found := keys.impostor(value):
        raise Malformed(f"the key {_shown(found[0])} in {where} looks like `{found[1]}`", id=id)


def _invalid(reason: str, id: Id) -> Malformed:
    return Malformed(reason, INVALID_PARAMS, id)


def _shown(value: Any) -> str:
    return f"`{ascii(value[:80])[1:-1]}`" if isinstance(value, str) else _type(value)


def _type(value: Any) -> str:
    return _TYPES.get(type(value), "a number with a fraction")
