"""A request that waits, or that has to do with those that wait."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from thoughtgate_proxy.core.config.values import Source
from thoughtgate_proxy.core.policy import call_digest
from thoughtgate_proxy.core.policy.engine import PolicyEngine
from thoughtgate_proxy.core.protocol import headers
from thoughtgate_proxy.core.protocol.headers import Head
from thoughtgate_proxy.core.protocol.http import HttpReply
from thoughtgate_proxy.core.protocol.message import Request
from thoughtgate_proxy.exchange.body import JSON
from thoughtgate_proxy.exchange.dispatch import Dispatch
from thoughtgate_proxy.mcp import rewrite
from thoughtgate_proxy.mcp.answers import Addressee

_EVENTS: Final = ("text/event-stream", "text/*", "*/*")


@dataclass(frozen=True, slots=True)
class HeldRequest:
    """One request, as it came.

    `target` is the raw request target for the server; `engine` the configuration that judged it;
    `dispatch` sends with headers that are made of the request's own.
    """

    request: Request
    body: bytes
    head: Head
    source: Source
    target: str
    engine: PolicyEngine
    dispatch: Callable[[Head], Dispatch]

    def header(self, name: str) -> str | None:
        """The first header called `name` (lower case)."""
        return next((value for key, value in self.head.upstream if key == name), None)

    @property
    def credential(self) -> str:
        """Whose request it is: the digest of its `Authorization`."""
        return call_digest.credential(self.header("authorization"))

    @property
    def addressee(self) -> Addressee:
        """Who is answered."""
        return Addressee.of(self.request, self.engine.config.governance.deny_as)

    @property
    def takes_events(self) -> bool:
        """Whether its `Accept`, if it has one, allows an event stream."""
        accepts = [value for key, value in self.head.upstream if key == "accept"]
        return not accepts or any(kind in value.lower() for value in accepts for kind in _EVENTS)

    @property
    def call_headers(self) -> tuple[tuple[str, str], ...]:
        """The headers that repeat what the body says, as 2026-07-28 has them."""
        return tuple((name, value) for name, value in self.head.upstream if _of_call(name))

    def carry(self, call: bytes) -> bytes:
        """The body of an approved call, as this request carries it."""
        return rewrite.with_meta(call, call, self.body)

    def with_call_headers(self, lines: Iterable[tuple[str, str]]) -> Head:
        """The headers with `lines` in place of `call_headers`."""
        others = [(name, value) for name, value in self.head.upstream if not _of_call(name)]
        return headers.with_upstream(self.head, [*others, *lines])

    def with_name(self, name: str) -> Head:
        """The headers with another `Mcp-Name`, where there is one."""
        return headers.with_upstream(
            self.head, [(k, name if k == "mcp-name" else v) for k, v in self.head.upstream]
        )


def json_reply(body: bytes, status: int = 200) -> HttpReply:
    """A reply of one JSON-RPC message."""
    return HttpReply(status, JSON, body)


def _of_call(name: str) -> bool:
    return name in ("mcp-method", "mcp-name") or name.startswith("mcp-param-")
