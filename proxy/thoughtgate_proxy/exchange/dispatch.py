"""An approved call's way: whoever carries it hears why it has no reply."""

from collections.abc import Callable

from thoughtgate_proxy.core.policy.permit import Permit
from thoughtgate_proxy.core.protocol import headers
from thoughtgate_proxy.core.protocol.headers import Head
from thoughtgate_proxy.core.protocol.message import Request
from thoughtgate_proxy.core.protocol.routing import Route
from thoughtgate_proxy.exchange.exchange import Endpoint, Exchange
from thoughtgate_proxy.upstream.errors import UpstreamError


class DispatchedExchange(Exchange):
    """A call that is sent once. Awaiting it raises `UpstreamError` if there is no reply."""

    def _end(self, error: UpstreamError) -> None:
        self._no_reply(error)  # which logs it
        self.set_exception(error)


class Dispatch:
    """Sends with the headers of one request, by the way that there is when it is sent."""

    def __init__(self, way: Callable[[Route], Endpoint], request: Request, head: Head) -> None:
        self._way, self._request, self._head = way, request, head

    def __call__(self, permit: Permit) -> DispatchedExchange:
        """Send what `permit` allows. Raises `UpstreamError`."""
        return DispatchedExchange(self._to(permit), permit, self._head, (self._request,))

    def resume(self, permit: Permit, last_event: str) -> DispatchedExchange:
        """Ask for what follows that event of the reply to what was sent; nothing is sent again.

        Source: MCP 2025-11-25, transports, "Resumability and Redelivery".
        """
        way = self._to(permit)
        head = headers.resuming(self._head, last_event)
        return DispatchedExchange(way, way.permit("GET"), head, (self._request,))

    def _to(self, permit: Permit) -> Endpoint:
        return self._way(Route(permit.source, permit.target))
