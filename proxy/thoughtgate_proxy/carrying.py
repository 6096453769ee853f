"""An approved call's way: whoever carries it hears why it has no reply."""

from collections.abc import Awaitable, Callable

from thoughtgate_proxy.core.headers import Head
from thoughtgate_proxy.core.http import HttpReply
from thoughtgate_proxy.core.message import Request
from thoughtgate_proxy.core.permit import Permit
from thoughtgate_proxy.core.routing import Route
from thoughtgate_proxy.passage import Passage, Way
from thoughtgate_proxy.upstream.errors import UpstreamError

Exchange = Callable[[Permit], Awaitable[HttpReply]]
"""Sends what a permit allows, with the headers of one request. Raises `UpstreamError`."""


class Carried(Passage):
    """A call that is sent once. Awaiting it raises `UpstreamError` if there is no reply."""

    def _end(self, error: UpstreamError) -> None:
        self._no_reply(error)  # which logs it
        self.set_exception(error)


def exchange(way: Callable[[Route], Way], request: Request, head: Head) -> Exchange:
    """Sends with the headers of `head`, by the way that `way` gives when it is sent."""

    def send(permit: Permit) -> Carried:
        return Carried(way(Route(permit.source, permit.target)), permit, head, (request,))

    return send
