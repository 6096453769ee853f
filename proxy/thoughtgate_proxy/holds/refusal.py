"""What the status of a reply to an approved call says of whether its server has acted."""

from typing import Final

from thoughtgate_proxy.core.protocol.http import HttpReply, ReplyCut, first
from thoughtgate_proxy.mcp import raw_json
from thoughtgate_proxy.upstream.errors import TurnedAway

# Whoever answers so has not handed the call to a tool (RFC 9110, section 15; RFC 6585, section 4).
_NOT_ACTED: Final = frozenset((401, 403, 429, 307, 308))
# What stands between may have handed the call on: nobody knows.
_UNKNOWN: Final = frozenset((502, 504))
_REDIRECTS: Final = range(300, 400)
_HINTS: Final = ("www-authenticate", "retry-after", "location")


def check(reply: HttpReply, content: bytes, *, in_session: bool) -> None:
    """Look at a reply that is not 2xx; `content` is its body.

    `in_session`: the call had an `Mcp-Session-Id`, which a 404 then says is gone. A body with a
    JSON-RPC result is the server's answer, whatever the status.
    Raises `TurnedAway` if the server has not acted, `ReplyCut` if nobody knows.
    """
    status = reply.status
    if "result" in (raw_json.members(content) or {}):
        return
    if (
        status in _NOT_ACTED
        or (status == 404 and in_session)
        or (status == 503 and first(reply.headers, "retry-after") is not None)
    ):
        raise TurnedAway(f"the server turned it away with {_words(reply)}")
    if status in _UNKNOWN or status in _REDIRECTS:
        raise ReplyCut(f"{_words(reply)}, which does not say whether the server acted")


def _words(reply: HttpReply) -> str:
    hints = ((name, first(reply.headers, name)) for name in _HINTS)
    told = ", ".join(f"{name}: {value[:200]}" for name, value in hints if value is not None)
    return f"HTTP status {reply.status}" + (f" ({told})" if told else "")
