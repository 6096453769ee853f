"""A request as it came, and the way to its server."""

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
from thoughtgate_proxy.exchange.dispatch import Dispatch
from thoughtgate_proxy.mcp.answers import Addressee

_JSON: Final = (("content-type", headers.JSON),)


@dataclass(frozen=True, slots=True)
class HeldRequest:
    """One request.

    `target` is the raw request target for the server; `gate` the configuration that judged it;
    `exchange` sends with the request's own headers.
    """

    request: Request
    body: bytes
    head: Head
    source: Source
    target: str
    gate: PolicyEngine
    exchange: Callable[[Head], Dispatch]

    def header(self, name: str) -> str | None:
        """The first header called `name` (lower case)."""
        return next((value for key, value in self.head.upstream if key == name), None)

    @property
    def credential(self) -> str:
        """Whose request it is."""
        return call_digest.credential(self.header("authorization"))

    @property
    def addressee(self) -> Addressee:
        """Who is answered."""
        return Addressee.of(self.request, self.gate.config.governance.deny_as)

    @property
    def of_call(self) -> tuple[tuple[str, str], ...]:
        """The headers that tell of the call in its body, as 2026-07-28 has them."""
        return tuple((name, value) for name, value in self.head.upstream if _of_call(name))

    def calling(self, lines: Iterable[tuple[str, str]]) -> Head:
        """The headers with `lines` in place of those that tell of the body."""
        others = [(name, value) for name, value in self.head.upstream if not _of_call(name)]
        return headers.with_upstream(self.head, [*others, *lines])

    def named(self, name: str) -> Head:
        """The headers with another `Mcp-Name`, where there is one."""
        return headers.with_upstream(
            self.head, [(k, name if k == "mcp-name" else v) for k, v in self.head.upstream]
        )


def json_reply(body: bytes, status: int = 200) -> HttpReply:
    """A reply of one JSON-RPC message."""
    return HttpReply(status, _JSON, body)


def _of_call(name: str) -> bool:
    return name in ("mcp-method", "mcp-name") or name.startswith("mcp-param-")
