"""The way of a request: read once, judged, and only then sent on."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

from thoughtgate_proxy.core.bounded_cache import BoundedCache
from thoughtgate_proxy.core.policy.decision import Decision
from thoughtgate_proxy.core.policy.engine import PolicyEngine
from thoughtgate_proxy.core.protocol import headers, message
from thoughtgate_proxy.core.protocol.headers import Head
from thoughtgate_proxy.core.protocol.http import HttpRefused, HttpReply, HttpRequest
from thoughtgate_proxy.core.protocol.message import Batch, Malformed, Notification, Request
from thoughtgate_proxy.core.protocol.routing import Route, route, well_known
from thoughtgate_proxy.exchange.dispatch import Dispatch
from thoughtgate_proxy.exchange.exchange import Endpoint, Exchange
from thoughtgate_proxy.exchange.filtered import PostExchange
from thoughtgate_proxy.exchange.listen import ListenExchange
from thoughtgate_proxy.gateway.authorize import Authorizer, Forward, Hold, Refuse
from thoughtgate_proxy.holds.request import HeldRequest
from thoughtgate_proxy.holds.service import HoldService
from thoughtgate_proxy.mcp import answers, tasks
from thoughtgate_proxy.mcp.list_changes import ListChanges
from thoughtgate_proxy.mcp.reply_rewriter import edited
from thoughtgate_proxy.telemetry.record import Record
from thoughtgate_proxy.upstream.pool import UpstreamPool

# The revisions that have batches; a client that names none speaks the first of them.
_BATCHES = (None, "2024-11-05", "2025-03-26")
# What tells of requests that wait, beside what a server says to them.
_BESIDE = tasks.METHODS | {"initialize", "server/discover", "tools/list"}
_JSON = (("content-type", headers.JSON),)
_ALLOW = (("allow", "POST, GET, DELETE"),)


@dataclass(frozen=True, slots=True)
class ActiveConfig:
    """A configuration with its connections; a reload replaces the whole."""

    gate: PolicyEngine
    upstreams: Mapping[str, UpstreamPool]
    ways: BoundedCache[str, Endpoint] = field(
        default_factory=lambda: BoundedCache(most=256, longest=256)
    )
    """Those of the request targets that were met."""


class Gateway:
    """Takes each request of the agent to its answer."""

    def __init__(
        self,
        in_force: ActiveConfig,
        record: Record,
        holds: Callable[[], HoldService | None],
        *,
        loopback_only: bool,
        new_id: Callable[[], str],
    ) -> None:
        """`holds` takes what a human must decide on; None as long as there is no workflow.

        `loopback_only`: the listener is bound to loopback; `new_id` gives correlation ids.
        """
        self.in_force = in_force
        self.changes = ListChanges()
        self._record, self._holds = record, holds
        self._heads = headers.Heads(loopback_only=loopback_only)
        self._new_id = new_id
        self._now = asyncio.get_running_loop().time

    def reload(self, new: ActiveConfig) -> None:
        """Put another configuration in force; what is under way ends under the old one."""
        old, self.in_force = self.in_force, new
        for upstream in old.upstreams.values():
            upstream.close()
        exposed = {source.id: source.expose for source in old.gate.config.enabled_sources}
        for source in new.gate.config.enabled_sources:
            if exposed.get(source.id, source.expose) != source.expose:
                self.changes.tell(source.id)

    def handle(self, http: HttpRequest) -> HttpReply | Awaitable[HttpReply]:
        """Answer one request, at once if that needs no server."""
        in_force = self.in_force
        try:
            head = self._heads.of(http)
            if head.refused is not None:
                return self._refused(head.refused)
            match http.method:
                case "POST":
                    if head.not_json is not None:
                        return self._refused(head.not_json)
                    return self._post(in_force, http, head)
                case "GET":
                    return self._get(in_force, http, head)
                case "DELETE":
                    return self._delete(in_force, http, head)
            raise HttpRefused(
                405, f"`{http.method[:20]}`: allowed are POST, GET and DELETE", _ALLOW
            )
        except HttpRefused as refused:
            return self._refused(refused)
        except Exception as error:  # noqa: BLE001  whatever we got wrong, nothing may pass by it
            return self._broken(error)

    def _broken(self, error: Exception) -> HttpReply:
        correlation = self._new_id()
        self._record.broken(correlation, error)
        text = f"ThoughtGate failed and let nothing pass (correlation {correlation})"
        return HttpReply(500, _JSON, answers.error(None, message.INTERNAL_ERROR, text))

    def _get(self, in_force: ActiveConfig, http: HttpRequest, head: Head) -> Exchange:
        metadata = well_known(http.target, in_force.gate.config.sources)
        if metadata is not None:
            way = self._new_way(in_force, metadata)
            self._record_unjudged("GET", metadata)
            return Exchange(way, way.permit("GET"), head)
        if not headers.accepts_events(http):
            raise HttpRefused(
                405, "GET is for event streams alone: `Accept: text/event-stream`", _ALLOW
            )
        way = self._way(in_force, http.target)
        self._record_unjudged("GET", way.route)
        return ListenExchange(way, way.permit("GET"), head)

    def _delete(self, in_force: ActiveConfig, http: HttpRequest, head: Head) -> Exchange:
        if head.header("mcp-session-id") is None:
            raise HttpRefused(405, "DELETE ends a session: `Mcp-Session-Id` is missing", _ALLOW)
        way = self._way(in_force, http.target)
        self._record_unjudged("DELETE", way.route)
        return Exchange(way, way.permit("DELETE"), head)

    def _record_unjudged(self, method: str, route: Route) -> None:
        """Log a request without a message. Raises `HttpRefused`: what is not logged is not sent."""
        if self._record.log.stuck:
            self._record.metrics.errors.inc("log_stuck", "")
            raise HttpRefused(503, "the log cannot be written, and nothing goes unlogged")
        self._record.forwarded(method, route.source.id, route.target, self._new_id())

    def _post(
        self, in_force: ActiveConfig, http: HttpRequest, head: Head
    ) -> HttpReply | Awaitable[HttpReply]:
        way, limits = self._way(in_force, http.target), in_force.gate.config.limits
        try:
            read = message.read(
                http.body,
                max_batch=limits.batch,
                max_depth=limits.json_depth,
                max_values=limits.json_values,
            )
        except Malformed as error:
            self._record.refused(self._new_id(), error.status, error.reason, limit=error.limit)
            return HttpReply(error.status, _JSON, answers.error(error.id, error.code, error.reason))
        if isinstance(read, Batch):
            return self._batch(way, http, head, read)
        ruling = way.judge.judge(head, read, http.body, self._now())
        if isinstance(ruling, Refuse):
            return HttpReply(ruling.status, _JSON, ruling.body)
        body, waiting = http.body, self._holds()
        if waiting is not None:
            if isinstance(read, Request):
                if _concerns(read, ruling):
                    work = partial(self._waited, waiting, way, http, head, read, ruling)
                    return self._guarded(work)
            elif isinstance(read, Notification) and read.method == "notifications/cancelled":
                ours = waiting.taken_back(read, head)
                if ours is None:
                    return HttpReply(202)
                body = ours(body)
        # A hold needs a workflow, with which the waiting began.
        assert isinstance(ruling, Forward)  # noqa: S101
        asked = (read,) if isinstance(read, Request) else ()
        return PostExchange(way, way.permit("POST", body, ruling.decisions), head, asked)

    async def _waited(
        self,
        waiting: HoldService,
        way: Endpoint,
        http: HttpRequest,
        head: Head,
        read: Request,
        ruling: Forward | Hold,
    ) -> HttpReply:
        """Answer what a human must decide on, or what tells of such requests."""
        arrival = HeldRequest(
            request=read,
            body=http.body,
            head=head,
            source=way.route.source,
            target=way.route.target,
            gate=way.gate,
            exchange=partial(Dispatch, self._way_now, read),
        )
        if isinstance(ruling, Hold):
            return await waiting.hold(arrival, ruling.decisions, ruling.correlation, ruling.trace)
        ours = await waiting.answered(arrival, ruling.decisions)
        if ours is not None:
            return ours
        edit = await waiting.edit(arrival)
        reply = await PostExchange(
            way, way.permit("POST", http.body, ruling.decisions), head, (read,)
        )
        if edit is None:
            return reply
        return await edited(reply, edit, way.gate.config.limits.listing_reply_bytes)

    async def _guarded(self, work: Callable[[], Awaitable[HttpReply]]) -> HttpReply:
        # A client that goes at once cancels this before its first step: `work` is then not begun.
        try:
            return await work()
        except HttpRefused as refused:
            return self._refused(refused)
        except Exception as error:  # noqa: BLE001  as in `handle`
            return self._broken(error)

    def _batch(
        self, way: Endpoint, http: HttpRequest, head: Head, batch: Batch
    ) -> HttpReply | Awaitable[HttpReply]:
        """Send on the members that may go on; answer the others in the same reply."""
        if head.header("mcp-protocol-version") not in _BATCHES:
            raise HttpRefused(400, "this protocol revision has no batches: send one message a POST")
        for name in ("mcp-method", "mcp-name"):
            if head.header(name) is not None:
                raise HttpRefused(400, f"`{name}` tells of one message, and the body is a batch")
        sent: list[bytes] = []
        asked: list[Request] = []
        decisions: list[Decision] = []
        ours: list[bytes] = []
        for read, raw in batch.members:
            ruling = way.judge.judge(head, read, raw, self._now(), alone=False)
            if isinstance(ruling, Refuse):
                if not isinstance(read, Notification):  # which gets no answer
                    ours.append(ruling.body)
                continue
            assert isinstance(ruling, Forward)  # noqa: S101  no member of a batch is held
            sent.append(raw)
            decisions.extend(ruling.decisions)
            if isinstance(read, Request):
                asked.append(read)
        if not sent:
            return HttpReply(200, _JSON, b"[%b]" % b",".join(ours)) if ours else HttpReply(202)
        all_sent = len(sent) == len(batch.members)
        body = http.body if all_sent else b"[%b]" % b",".join(sent)
        return PostExchange(way, way.permit("POST", body, decisions), head, asked, ours)

    def _way(self, in_force: ActiveConfig, target: str) -> Endpoint:
        """The way of a request target, remembered. Raises `HttpRefused`."""
        way = in_force.ways.get(target)
        if way is None:
            way = self._new_way(in_force, route(target, in_force.gate.config.sources))
            in_force.ways.put(target, way, len(target))
        return way

    def _way_now(self, where: Route) -> Endpoint:
        """The way of a call that was approved before the configuration in force."""
        return self._new_way(self.in_force, where)

    def _new_way(self, in_force: ActiveConfig, where: Route) -> Endpoint:
        gate, source = in_force.gate, where.source
        judge = Authorizer(gate, source, self._record, self._new_id)
        return Endpoint(
            where, gate, judge, in_force.upstreams[source.id], self._record, self.changes
        )

    def _refused(self, refused: HttpRefused) -> HttpReply:
        self._record.refused(self._new_id(), refused.status, refused.reason, limit=refused.limit)
        body = answers.error(None, message.INVALID_REQUEST, refused.reason)
        return HttpReply(refused.status, [*_JSON, *refused.headers], body)


def _concerns(read: Request, ruling: Forward | Hold) -> bool:
    """Whether a request waits for a human, or has to do with those that wait."""
    return (
        isinstance(ruling, Hold)
        or read.method in _BESIDE
        or ("requestState" in read.params and bool(ruling.decisions))
    )
