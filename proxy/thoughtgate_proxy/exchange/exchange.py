"""One permitted request, and its reply."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from thoughtgate_proxy.core.policy.engine import PolicyEngine
from thoughtgate_proxy.core.policy.permit import Permit
from thoughtgate_proxy.core.protocol.headers import Head
from thoughtgate_proxy.core.protocol.http import HttpReply
from thoughtgate_proxy.core.protocol.message import Id, Request
from thoughtgate_proxy.core.protocol.routing import Route
from thoughtgate_proxy.exchange.body import JSON
from thoughtgate_proxy.mcp import answers
from thoughtgate_proxy.mcp.list_changes import ListChanges
from thoughtgate_proxy.telemetry.record import Record
from thoughtgate_proxy.telemetry.series import Count
from thoughtgate_proxy.upstream.errors import Restarting, UpstreamError, UpstreamTimedOut
from thoughtgate_proxy.upstream.pool import UpstreamPool
from thoughtgate_proxy.upstream.response_body import UpstreamReply


@dataclass(frozen=True, slots=True, eq=False)
class Endpoint:
    """Where the requests for one target go, under one configuration."""

    route: Route
    engine: PolicyEngine
    pool: UpstreamPool
    record: Record
    changes: ListChanges
    counts: dict[int, Count] = field(default_factory=dict)

    def count(self, status: int) -> None:
        """Count a reply of the server's."""
        count = self.counts.get(status)
        if count is None:
            counter = self.record.metrics.upstream_requests
            count = self.counts[status] = counter.labelled(self.route.source.id, str(status))
        count.value += 1


class Exchange(asyncio.Future[HttpReply]):
    """One request and its reply: a future of the reply as the client may see it.

    Cancelling it closes the connection, so that the server learns that nobody waits any more.
    """

    __slots__ = (
        "_abandon", "_begun", "_handle_reply", "_raises", "_reply", "_task",
        "endpoint", "head", "permit", "requests",
    )  # fmt: skip

    def __init__(
        self,
        endpoint: Endpoint,
        permit: Permit,
        head: Head,
        handle_reply: "ReplyHandler",
        requests: Sequence[Request] = (),
        *,
        raises: bool = False,
    ) -> None:
        """`requests` are those in the permit's body.

        Where there is no reply that is answered; with `raises` the future has the `UpstreamError`.
        """
        super().__init__()
        self.endpoint, self.permit, self.head, self.requests = endpoint, permit, head, requests
        self._handle_reply, self._raises = handle_reply, raises
        self._abandon: Callable[[], object] | None = None
        self._task: asyncio.Future[HttpReply] | None = None

    def send(self) -> Self:
        """Send what is permitted, once; gives itself."""
        self._begun = time.perf_counter()
        try:
            self._abandon = self.endpoint.pool.send(self.permit, self.head, self)
        except UpstreamError as error:
            self.failed(error)
        return self

    def cancel(self, msg: Any = None) -> bool:
        """Give the request up: the client has gone, and the server may have acted."""
        if self.done():
            return False
        if self._task is not None:
            self._task.cancel()
        else:
            self._count_failure("none")
            if self._abandon is not None:
                self._abandon()
        return super().cancel(msg)

    def refuse(self, status: int, text: str, kind: str | None = None) -> HttpReply:
        """Our own answer in place of a reply that cannot be passed on."""
        self._log_failure(text, kind or f"upstream_{status}")
        return HttpReply(status, JSON, answers.error(self._id, answers.UPSTREAM_DOWN, text))

    # The upstream's side

    def replied(self, reply: UpstreamReply) -> None:
        """The upstream has the head of the reply, and all or some of its body."""
        if self.done():
            reply.close()
            return
        endpoint, status = self.endpoint, reply.head.status
        record, source = endpoint.record, endpoint.route.source.id
        record.upstreams[source] = "answered"
        record.metrics.upstream_seconds.observe(time.perf_counter() - self._begun)
        endpoint.count(status)
        if status == 404 and endpoint.route.target == "/":
            record.hint_path(source)
        try:
            if 300 <= status < 400 and status != 304:
                reply.close()
                answer: HttpReply | Awaitable[HttpReply] = self._refuse_redirect(status)
            else:
                answer = self._handle_reply(self, reply)
        except BaseException as error:  # noqa: BLE001  whoever awaits us is told
            reply.close()
            self._end(error)
            return
        if isinstance(answer, HttpReply):
            self._end(answer)
            return
        self._reply, self._task = reply, asyncio.ensure_future(answer)
        self._task.add_done_callback(self._handled)

    def failed(self, error: UpstreamError) -> None:
        """The upstream has no reply, and will have none."""
        if self.done():
            return
        self._count_failure("none" if error.sent else "unsent")
        answer = self._answer_failure(error)  # which logs it
        self._end(error if self._raises else answer)

    def _handled(self, task: "asyncio.Future[HttpReply]") -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if error is not None or self.done():
            # Above all when the client has gone: the server must learn of it.
            self._reply.close()
        if not self.done():
            self._end(task.result() if error is None else error)

    def _end(self, outcome: HttpReply | BaseException) -> None:
        if isinstance(outcome, HttpReply):
            self.set_result(outcome)
        elif isinstance(outcome, asyncio.CancelledError):
            super().cancel()
        else:
            self.set_exception(outcome)

    def _refuse_redirect(self, status: int) -> HttpReply:
        text = (
            f"the server answered with a redirect ({status}), which is not followed: "
            "the source's `url` must be the final one"
        )
        return self.refuse(502, text)

    def _answer_failure(self, error: UpstreamError) -> HttpReply:
        timed_out = isinstance(error, UpstreamTimedOut)
        kind, text = "upstream_down", "the MCP server cannot be reached"
        if timed_out:
            kind, text = "upstream_timeout", "the MCP server did not answer in time"
        elif isinstance(error, Restarting):
            kind, text = "restarting", "ThoughtGate is restarting and has no reply yet"
        elif error.sent:
            text = "the MCP server gave no reply"
        self._log_failure(str(error), kind)
        if error.sent:
            text += "; whether it acted on the request is unknown, and it was not sent again"
        code = answers.UPSTREAM_TIMED_OUT if timed_out else answers.UPSTREAM_DOWN
        return HttpReply(504 if timed_out else 502, JSON, answers.error(self._id, code, text))

    def _count_failure(self, status: str) -> None:
        endpoint = self.endpoint
        endpoint.record.metrics.upstream_requests.inc(endpoint.route.source.id, status)

    def _log_failure(self, reason: str, kind: str) -> None:
        method = self.requests[0].method if self.requests else ""
        self.endpoint.record.upstream_failed(self.endpoint.route.source.id, method, reason, kind)

    @property
    def _id(self) -> Id | None:
        return self.requests[0].id if len(self.requests) == 1 else None


ReplyHandler = Callable[[Exchange, UpstreamReply], HttpReply | Awaitable[HttpReply]]
"""Makes of a server's reply the one that the client may see."""
