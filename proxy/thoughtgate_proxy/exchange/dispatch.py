"""Sends what a held request was allowed to, and asks for the rest of a reply that broke off."""

import asyncio
from collections.abc import Callable

from thoughtgate_proxy.core.policy.permit import Permit, PermitRefused
from thoughtgate_proxy.core.protocol import headers
from thoughtgate_proxy.core.protocol.headers import Head
from thoughtgate_proxy.core.protocol.http import ReplyCut
from thoughtgate_proxy.core.protocol.message import Request
from thoughtgate_proxy.exchange import passthrough
from thoughtgate_proxy.exchange.exchange import Endpoint, Exchange
from thoughtgate_proxy.upstream.errors import UpstreamError

# A server that gives something new each time would be asked for ever. One that works for long names
# a pause, so it is asked as often as one second between two allows; the least time is as long as
# the outcome of a call is kept, and `timeouts.response` wins where it is longer.
MOST_TRIES = 3600
LEAST_SECONDS = 3600.0


class Dispatch:
    """One sending with the headers of one request, to the endpoint of that moment.

    What it gives is to be awaited; that raises `UpstreamError` where there is no reply.
    """

    def __init__(
        self, endpoint: Callable[[str, str], Endpoint], request: Request, head: Head
    ) -> None:
        """`endpoint` gives that of a source's id and a target. It raises `UpstreamError`."""
        self._endpoint, self._request, self._head = endpoint, request, head
        self._tries, self._ends_at = 0, 0.0

    def __call__(self, permit: Permit) -> Exchange:
        """Send what `permit` allows. Raises `UpstreamError`."""
        endpoint = self._endpoint(permit.source.id, permit.target)
        return self._send(endpoint, permit, self._head)

    def resume(self, sent: Permit, last_event: str) -> Exchange:
        """Ask for what follows that event of the reply to what was sent; nothing is sent again.

        Raises `ReplyCut` where that was tried too often or for too long, or may not be asked any
        more, above all since every gated call is frozen.
        Source: MCP 2025-11-25, transports, "Resumability and Redelivery".
        """
        try:
            endpoint = self._endpoint(sent.source.id, sent.target)
            permit = endpoint.engine.permit_rest(sent)
        except PermitRefused as refused:
            raise ReplyCut(f"its reply broke off, and {refused.decision.reason}") from refused
        except UpstreamError as error:
            raise ReplyCut(f"its reply broke off, and {error}") from error
        now = asyncio.get_running_loop().time()
        if not self._tries:
            seconds = max(LEAST_SECONDS, endpoint.route.source.timeouts.response)
            self._ends_at = now + seconds
        if self._tries >= MOST_TRIES or now > self._ends_at:
            raise ReplyCut(f"its reply broke off {self._tries} times and was not asked for again")
        self._tries += 1
        return self._send(endpoint, permit, headers.resuming(self._head, last_event))

    def _send(self, endpoint: Endpoint, permit: Permit, head: Head) -> Exchange:
        request = (self._request,)
        return Exchange(endpoint, permit, head, passthrough.answer, request, raises=True).send()
