"""Which headers pass, which stop here, and which make a request refused."""

import base64
import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial

from thoughtgate_proxy.core.bounded_cache import HEADER_BYTES, BoundedCache
from thoughtgate_proxy.core.protocol.http import Fields, Headers, HttpRefused, HttpRequest
from thoughtgate_proxy.core.protocol.message import PROTOCOL_VERSION, Notification, Request

JSON = "application/json"
EVENT_STREAM = "text/event-stream"

# RFC 9110, section 7.6.1, and what a proxy between two others would have added.
_HOP_BY_HOP = frozenset(
    {
        "connection", "expect", "forwarded", "http2-settings", "keep-alive", "max-forwards",
        "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade", "via", "x-http-method", "x-http-method-override",
        "x-method-override", "x-original-url", "x-rewrite-url",
    }
)  # fmt: skip
_TO_CLIENT = _HOP_BY_HOP - {"proxy-authenticate"}
_OURS = frozenset({"accept-encoding", "content-encoding", "content-length", "host", "origin"})
_ONCE = frozenset({"authorization", "content-encoding", "content-type", "last-event-id", "origin"})
_MATTER = frozenset({"accept", "authorization", "host", "last-event-id"})
_NAMED_BY = {"resources": "uri", "tasks": "taskId"}
_LOOPBACK = re.compile(r"(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?", re.IGNORECASE)
_JSON_TYPE = re.compile(r'application/json\s*(?:;\s*charset\s*=\s*"?utf-8"?\s*)?', re.IGNORECASE)
_ENCODED = re.compile(r"=\?base64\?(.*)\?=", re.DOTALL)


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """What a request's headers come to: a client sends the same few blocks again and again.

    `refused` and `not_json` say why `check` and `check_json` refuse it; `upstream` goes on to the
    server, `encoded` being the same as it stands on the wire, each line with CR LF before it.
    Two are equal only if they are the same one, which makes it a quick key.
    """

    refused: HttpRefused | None
    not_json: HttpRefused | None
    upstream: Headers
    encoded: bytes
    first: Mapping[str, str]

    def header(self, name: str) -> str | None:
        """The first header called `name` (lower case)."""
        return self.first.get(name)


class Heads:
    """The blocks that were met lately."""

    def __init__(self, *, loopback_only: bool) -> None:
        """As `check` has it."""
        self._loopback_only = loopback_only
        self._known = BoundedCache[tuple[tuple[str, str], ...], Head](most=256, longest=4096)

    def of(self, request: HttpRequest) -> Head:
        """What the headers of `request` come to."""
        key = tuple(request.headers)
        head = self._known.get(key)
        if head is None:
            head = self._new(request)
            size = sum(len(name) + len(value) + HEADER_BYTES for name, value in key)
            self._known.put(key, head, size)
        return head

    def _new(self, request: HttpRequest) -> Head:
        refused: list[HttpRefused | None] = []
        for checked in (partial(check, loopback_only=self._loopback_only), check_json):
            try:
                checked(request)
                refused.append(None)
            except HttpRefused as error:
                # Its traceback would keep the whole request, body and all, for as long as this.
                refused.append(error.with_traceback(None))
        passed = upstream(request)
        first = dict(reversed(request.headers))
        return with_upstream(Head(refused[0], refused[1], (), b"", first), passed)


def check(request: HttpRequest, *, loopback_only: bool) -> None:
    """Refuse headers that tell two stories, or that a page from elsewhere sent.

    `loopback_only`: the listener is bound to loopback, so any other `Host` is DNS rebinding.
    Raises `HttpRefused`.
    """
    seen: set[str] = set()
    for name, _ in request.headers:
        if "_" in name and (_matters(read := name.replace("_", "-")) or _stops(read)):
            # CGI, and all that is like it, cannot tell the two apart.
            raise HttpRefused(400, f"the header `{name}` could be read as `{read}`")
        if name in seen and (name in _ONCE or name.startswith("mcp-")):
            raise HttpRefused(400, f"the header `{name}` stands twice")
        seen.add(name)
    for name in _named_by_connection(request.headers):
        if _matters(name):
            raise HttpRefused(400, f"`Connection` names `{name}`, which must reach the server")
    host = request.header("host") or ""
    if loopback_only and not _LOOPBACK.fullmatch(host):
        raise HttpRefused(
            403, "the `Host` is not this pod's own; allowed are localhost, 127.0.0.1 and [::1]"
        )
    origin = request.header("origin")
    if origin is not None:
        scheme, _, authority = origin.partition("://")
        local = loopback_only and _LOOPBACK.fullmatch(authority) is not None
        if scheme not in ("http", "https") or not (local or authority == host):
            raise HttpRefused(403, "the `Origin` is from elsewhere")


def check_json(request: HttpRequest) -> None:
    """Refuse a body that is not plain JSON in UTF-8. Raises `HttpRefused`."""
    if encoded(request.header("content-encoding")):
        raise HttpRefused(415, "the body has a `Content-Encoding`; allowed is identity")
    kind = request.header("content-type")
    if kind is None or not _JSON_TYPE.fullmatch(kind.strip()):
        raise HttpRefused(415, "the `Content-Type` is not `application/json` (in UTF-8)")


def accepts_events(request: HttpRequest) -> bool:
    """Whether the client can take an event stream."""
    # A list may stand in several lines (RFC 9110, section 5.3), and some clients write it so.
    lines = [value for name, value in request.headers if name == "accept"]
    return any(
        kind.partition(";")[0].strip().lower() == EVENT_STREAM
        for kind in ",".join(lines).split(",")
    )


def mismatch(request: Fields, message: Request | Notification) -> str | None:
    """What the routing headers say otherwise than the body, in one line.

    Source: revision 2026-07-28, streamable HTTP, "Server Validation". The body decides; a header
    that is absent is the server's to miss.
    """
    declared = request.header("mcp-method")
    if declared is not None and declared != message.method:
        return "`Mcp-Method` differs from the body's `method`"
    declared = request.header("mcp-name")
    if declared is not None:
        name = _decoded(declared)
        if name is None:
            return "`Mcp-Name` is not valid base64 of UTF-8"
        key = _NAMED_BY.get(message.method.partition("/")[0], "name")
        if key in message.params and message.params[key] != name:
            return f"`Mcp-Name` differs from the body's `{key}`"
    meta = message.params.get("_meta")
    version = meta.get(PROTOCOL_VERSION) if meta else None
    if version is not None and request.header("mcp-protocol-version") not in (None, version):
        return "`MCP-Protocol-Version` differs from the body's `_meta`"
    return None


def upstream(request: HttpRequest) -> Headers:
    """The request's headers as they go on to the server."""
    named = set(_named_by_connection(request.headers))
    passed = [
        (name, value)
        for name, value in request.headers
        if name not in named and name not in _OURS and not _stops(name)
    ]
    # A compressed reply could not be filtered.
    passed.append(("accept-encoding", "identity"))
    return passed


def resuming(head: Head, last_event: str) -> Head:
    """The headers that ask for the rest of a reply's events; `last_event` is printable ASCII."""
    stopped = ("accept", "content-type", "last-event-id")
    kept = [(name, value) for name, value in head.upstream if name not in stopped]
    return with_upstream(head, [*kept, ("accept", EVENT_STREAM), ("last-event-id", last_event)])


def with_upstream(head: Head, lines: Headers) -> Head:
    """The same with other headers for the server."""
    encoded = "".join(f"\r\n{name}: {value}" for name, value in lines).encode("latin-1")
    return dataclasses.replace(head, upstream=lines, encoded=encoded)


def downstream(headers: Headers, *, same_body: bool) -> Headers:
    """A reply's headers as they go on to the client; the length only if the body is the same."""
    named = set(_named_by_connection(headers))
    stopped = _TO_CLIENT | named if named else _TO_CLIENT
    return [
        (name, value)
        for name, value in headers
        if name not in stopped and (same_body or name != "content-length")
    ]


def encoded(value: str | None) -> bool:
    """Whether a `Content-Encoding` says that a body is not as it was written."""
    return value is not None and value.strip().lower() != "identity"


def is_utf8(content_type: str) -> bool:
    """Whether a `Content-Type` names no charset but UTF-8, in either spelling."""
    for parameter in content_type.split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            return value.strip().strip('"').lower() in ("utf-8", "utf8")
    return True


def media_type(value: str | None) -> str:
    """The type of a `Content-Type`, without its parameters, in lower case."""
    return (value or "").partition(";")[0].strip().lower()


def _decoded(value: str) -> str | None:
    encoded = _ENCODED.fullmatch(value)
    if encoded is None:
        return value
    try:
        decoded = base64.b64decode(encoded[1], validate=True)
        # Python lets too much padding pass, and bits that nobody reads.
        return decoded.decode() if base64.b64encode(decoded).decode() == encoded[1] else None
    except ValueError:  # no base64, or no UTF-8
        return None


def _named_by_connection(headers: Headers) -> Iterable[str]:
    for name, value in headers:
        if name == "connection":
            yield from (token.strip().lower() for token in value.split(","))


def _stops(name: str) -> bool:
    return name in _HOP_BY_HOP or name.startswith(("proxy-", "x-forwarded-"))


def _matters(name: str) -> bool:
    return name.startswith(("mcp-", "content-")) or name in _MATTER
