"""The server's reply as it is."""

from collections.abc import AsyncIterator

from thoughtgate_proxy.core.protocol.http import HttpReply
from thoughtgate_proxy.exchange.exchange import Exchange
from thoughtgate_proxy.upstream.response_body import UpstreamReply


def answer(_: Exchange, reply: UpstreamReply) -> HttpReply:
    """The reply with its own bytes."""
    return HttpReply(reply.head.status, reply.head.passed, reply.body, reply.close)


def stream(reply: UpstreamReply, events: AsyncIterator[bytes]) -> HttpReply:
    """The reply with `events` as its body."""
    return HttpReply(reply.head.status, reply.head.passed_anew, events, reply.close)
