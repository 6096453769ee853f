"""An approved call's way: whoever carries it hears why it has no reply."""

from collections.abc import Callable

from thoughtgate_proxy.core import headers
from thoughtgate_proxy.core.headers import Head
from thoughtgate_proxy.core.message import Request
from thoughtgate_proxy.core.permit import Permit
from thoughtgate_proxy.core.routing import Route
from thoughtgate_proxy.passage import Passage, Way
from thoughtgate_proxy.upstream.errors import UpstreamError


class Carried(Passage):
    """A call that is sent once. Awaiting it raises `UpstreamError` if there is no reply."""

    def _end(self, error: UpstreamError) -> None:
        self._no_reply(error)  # which logs it
        self.set_exception(error)


class Exchange:
    """Sends with the headers of one request, by the way that there is when it is sent."""

    def __init__(self, way: Callable[[Route], Way], request: Request, head: Head) -> None:
        self._way, self._request, self._head = way, request, head

    def __call__(self, permit: Permit) -> Carried:
        """Send what `permit` allows. Raises `UpstreamError`."""
        return Carried(self._to(permit), permit, self._head, (self._request,))

    def resume(self, permit: Permit, last_event: str) -> Carried:
        """Ask for what follows that event of the reply to what was sent; nothing is sent again.

        Source: MCP 2025-11-25, transports, "Resumability and Redelivery".
        """
        way = self._to(permit)
        head = headers.resuming(self._head, last_event)
        return Carried(way, way.permit("GET"), head, (self._request,))

    def _to(self, permit: Permit) -> Way:
        return self._way(Route(permit.source, permit.target))
