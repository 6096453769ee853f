"""Sends what a held request was allowed to, and asks for the rest of a reply that broke off."""

import time
from collections.abc import Callable

from thoughtgate_proxy.core.policy.permit import Permit, PermitRefused
from thoughtgate_proxy.core.protocol import headers
from thoughtgate_proxy.core.protocol.headers import Head
from thoughtgate_proxy.core.protocol.http import ReplyCut
from thoughtgate_proxy.core.protocol.message import Request
from thoughtgate_proxy.exchange import passthrough
from thoughtgate_proxy.exchange.exchange import Endpoint, Exchange

# A server that gives something new each time may be asked so often for one reply, and for as long
# as it may take to begin one (`timeouts.response`), or this if that is less. The wait between two
# is the server's to name, up to a minute.
MOST_TRIES = 500
LEAST_SECONDS = 300.0


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

        Raises `UpstreamError`, and `ReplyCut` where that was tried too often or for too long, or
        may not be asked any more, above all since every gated call is frozen.
        Source: MCP 2025-11-25, transports, "Resumability and Redelivery".
        """
        endpoint = self._endpoint(sent.source.id, sent.target)
        now = time.monotonic()
        if not self._tries:
            most = max(LEAST_SECONDS, endpoint.route.source.timeouts.response)
            self._ends_at = now + most
        if self._tries >= MOST_TRIES or now > self._ends_at:
            raise ReplyCut(f"its reply broke off {self._tries} times and was not asked for again")
        self._tries += 1
        try:
            permit = endpoint.engine.permit_rest(sent)
        except PermitRefused as refused:
            raise ReplyCut(f"its reply broke off, and {refused.decision.reason}") from refused
        return self._send(endpoint, permit, headers.resuming(self._head, last_event))

    def _send(self, endpoint: Endpoint, permit: Permit, head: Head) -> Exchange:
        request = (self._request,)
        return Exchange(endpoint, permit, head, passthrough.answer, request, raises=True).send()
