"""A listener alone, and what it tells of its requests."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from tests.harness.wait import within
from thoughtgate_proxy.core.config.values import Limits
from thoughtgate_proxy.core.memory_budget import Budget
from thoughtgate_proxy.core.protocol.http import HttpReply, HttpRequest
from thoughtgate_proxy.listeners.server import HttpServer, listen, port_of
from thoughtgate_proxy.listeners.service import ClientTimeouts, Service


@dataclass
class Watching:
    """Writes down what the listener tells."""

    active: int = 0
    refusals: list[int] = field(default_factory=list)
    limits: list[str | None] = field(default_factory=list)
    breaks: list[str] = field(default_factory=list)
    cuts: list[str] = field(default_factory=list)

    def begun(self) -> None:
        self.active += 1

    def ended(self, seconds: float) -> None:
        assert seconds >= 0
        self.active -= 1

    def refused(self, status: int, reason: str, limit: str | None = None) -> None:
        assert reason
        self.limits.append(limit)
        self.refusals.append(status)

    def broken(self, error: BaseException) -> None:
        self.breaks.append(repr(error))

    def cut(self, reason: str) -> None:
        self.cuts.append(reason)


Handle = Callable[[HttpRequest], HttpReply | Awaitable[HttpReply]]


async def echo(request: HttpRequest) -> HttpReply:
    return HttpReply(200, [("content-type", "application/json")], request.body)


@contextlib.asynccontextmanager
async def listening(
    handle: Handle = echo,
    limits: Limits | None = None,
    memory: int = 1 << 26,
    seconds: float = 9.0,
    idle: float = 9.0,
) -> AsyncIterator[tuple[int, Watching, Service]]:
    """The listener alone, in this process. In the end nothing may be under way."""
    watch, in_force = Watching(), limits or Limits()
    budget = Budget(memory)
    times = ClientTimeouts(idle=idle, head=min(idle, 9.0), body=seconds)
    listener = Service(handle, lambda: in_force, watch, budget, times)
    server = HttpServer(listener)
    servers = await listen(server, ["127.0.0.1"], 0)
    try:
        yield port_of(servers[0]), watch, listener
        await within(lambda: not watch.active, "the end of all requests")
    finally:
        for bound in servers:
            bound.close()
        await server.shutdown(1.0)
    await within(lambda: budget.taken == 0, "the budget to be given back")
