"""The line of a request: read once, authorized, and only then sent on."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial

from thoughtgate_proxy.core.bounded_cache import BoundedCache
from thoughtgate_proxy.core.policy.engine import PolicyEngine
from thoughtgate_proxy.core.policy.permit import BodilessRequest, MessageGrounds, UngatedMessage
from thoughtgate_proxy.core.protocol import headers, message
from thoughtgate_proxy.core.protocol.headers import Head
from thoughtgate_proxy.core.protocol.http import HttpRefused, HttpReply, HttpRequest
from thoughtgate_proxy.core.protocol.message import Batch, Malformed, Notification, Request
from thoughtgate_proxy.core.protocol.routing import Route, route, well_known
from thoughtgate_proxy.exchange import filtered, listen, passthrough
from thoughtgate_proxy.exchange.body import JSON
from thoughtgate_proxy.exchange.dispatch import Dispatch
from thoughtgate_proxy.exchange.exchange import Endpoint, Exchange
from thoughtgate_proxy.exchange.reply_rewriter import rewritten
from thoughtgate_proxy.gateway.authorize import Authorizer, Hold, Refuse
from thoughtgate_proxy.holds.request import HeldRequest
from thoughtgate_proxy.holds.service import HoldService
from thoughtgate_proxy.mcp import answers, tasks
from thoughtgate_proxy.mcp.list_changes import ListChanges
from thoughtgate_proxy.telemetry.record import Record
from thoughtgate_proxy.upstream.errors import UpstreamError
from thoughtgate_proxy.upstream.pool import UpstreamPool

# The revisions that have batches; a client that names none speaks the first of them.
_BATCHES = (None, "2024-11-05", "2025-03-26")
# What tells of held requests, beside what a server says to them.
_TELLS_OF_HOLDS = tasks.METHODS | {"initialize", "server/discover", "tools/list"}
_ALLOW = (("allow", "POST, GET, DELETE"),)


@dataclass(frozen=True, slots=True)
class ActiveConfig:
    """A configuration with its connections; a reload replaces the whole."""

    engine: PolicyEngine
    upstreams: Mapping[str, UpstreamPool]


class Gateway:
    """Takes each request of the agent to its answer."""

    def __init__(
        self,
        active: ActiveConfig,
        record: Record,
        holds: Callable[[], HoldService | None],
        *,
        loopback_only: bool,
        new_id: Callable[[], str],
    ) -> None:
        """`holds` takes what a human must decide on; None as long as there is no workflow.

        `loopback_only`: the listener is bound to loopback; `new_id` gives correlation ids.
        """
        self._record, self._holds, self._new_id = record, holds, new_id
        self._heads = headers.Heads(loopback_only=loopback_only)
        self._changes = ListChanges()
        self._now = asyncio.get_running_loop().time
        self._take(active)

    def reload(self, new: ActiveConfig) -> None:
        """Put another configuration in force; what is under way ends under the old one."""
        old = self._active
        self._take(new)
        for upstream in old.upstreams.values():
            upstream.close()
        exposed = {source.id: source.expose for source in old.engine.config.enabled_sources}
        for source in new.engine.config.enabled_sources:
            if exposed.get(source.id, source.expose) != source.expose:
                self._changes.tell(source.id)

    def _take(self, active: ActiveConfig) -> None:
        self._active = active
        self._authorizer = Authorizer(active.engine, self._record, self._new_id)
        # Agents ask for few targets.
        self._endpoints = BoundedCache[str, Endpoint](most=256, longest=256)

    def handle(self, http: HttpRequest) -> HttpReply | Awaitable[HttpReply]:
        """Answer one request, at once if that needs no server."""
        try:
            head = self._heads.of(http)
            if head.refused is not None:
                return self._refuse(head.refused)
            match http.method:
                case "POST":
                    if head.not_json is not None:
                        return self._refuse(head.not_json)
                    return self._post(http, head)
                case "GET":
                    return self._get(http, head)
                case "DELETE":
                    return self._delete(http, head)
            raise HttpRefused(
                405, f"`{http.method[:20]}`: allowed are POST, GET and DELETE", _ALLOW
            )
        except HttpRefused as refused:
            return self._refuse(refused)
        except Exception as error:  # noqa: BLE001  whatever we got wrong, nothing may pass by it
            return self._fail(error)

    def _get(self, http: HttpRequest, head: Head) -> Exchange:
        metadata = well_known(http.target, self._active.engine.config.sources)
        if metadata is not None:
            endpoint, request = self._new_endpoint(metadata), BodilessRequest.METADATA
            return self._send_bodiless(endpoint, request, head)
        if not headers.accepts_events(http):
            raise HttpRefused(
                405, "GET is for event streams alone: `Accept: text/event-stream`", _ALLOW
            )
        return self._send_bodiless(self._endpoint(http.target), BodilessRequest.LISTEN, head)

    def _delete(self, http: HttpRequest, head: Head) -> Exchange:
        if head.header("mcp-session-id") is None:
            raise HttpRefused(405, "DELETE ends a session: `Mcp-Session-Id` is missing", _ALLOW)
        endpoint = self._endpoint(http.target)
        return self._send_bodiless(endpoint, BodilessRequest.SESSION_END, head)

    def _send_bodiless(self, endpoint: Endpoint, request: BodilessRequest, head: Head) -> Exchange:
        to = endpoint.route
        if self._record.log.stuck:
            self._record.metrics.errors.inc("log_stuck", "")
            raise HttpRefused(503, "the log cannot be written, and nothing goes unlogged")
        self._record.forwarded(request.method, to.source.id, to.target, self._new_id())
        permit = endpoint.engine.permit_bodiless(to.source, to.target, request)
        handler = listen.answer if request is BodilessRequest.LISTEN else passthrough.answer
        return Exchange(endpoint, permit, head, handler).send()

    def _post(self, http: HttpRequest, head: Head) -> HttpReply | Awaitable[HttpReply]:
        endpoint, limits = self._endpoint(http.target), self._active.engine.config.limits
        try:
            read = message.read(
                http.body,
                max_batch=limits.batch,
                max_depth=limits.json_depth,
                max_values=limits.json_values,
            )
        except Malformed as error:
            self._record.refused(self._new_id(), error.status, error.reason, limit=error.limit)
            return HttpReply(error.status, JSON, answers.error(error.id, error.code, error.reason))
        if isinstance(read, Batch):
            return self._batch(endpoint, http, head, read)
        verdict = self._authorizer.authorize(
            endpoint.route.source, head, read, http.body, self._now()
        )
        if isinstance(verdict, Refuse):
            return HttpReply(verdict.status, JSON, verdict.body)
        body, holds = http.body, self._holds()
        if holds is not None:
            if isinstance(read, Request):
                if _concerns_holds(read, verdict):
                    work = partial(self._with_holds, holds, endpoint, http, head, read, verdict)
                    return self._guarded(work)
            elif isinstance(read, Notification) and read.method == "notifications/cancelled":
                rewrite = holds.cancel(read, head)
                if rewrite is None:
                    return HttpReply(202)
                body = rewrite(body)
        # A hold needs a workflow, and with the first of them there is a `HoldService`.
        assert not isinstance(verdict, Hold)  # noqa: S101
        return self._send(endpoint, body, verdict, head, read)

    def _send(
        self,
        endpoint: Endpoint,
        body: bytes,
        grounds: MessageGrounds,
        head: Head,
        read: message.Message,
    ) -> Exchange:
        permit = endpoint.engine.permit(endpoint.route.source, endpoint.route.target, body, grounds)
        requests = (read,) if isinstance(read, Request) else ()
        return Exchange(endpoint, permit, head, filtered.answer, requests).send()

    async def _with_holds(
        self,
        holds: HoldService,
        endpoint: Endpoint,
        http: HttpRequest,
        head: Head,
        request: Request,
        verdict: MessageGrounds | Hold,
    ) -> HttpReply:
        """Answer what a human must decide on, or what tells of such requests."""
        held = HeldRequest(
            request=request,
            body=http.body,
            head=head,
            source=endpoint.route.source,
            target=endpoint.route.target,
            engine=endpoint.engine,
            dispatch=partial(Dispatch, self._endpoint_now, request),
        )
        if isinstance(verdict, Hold):
            return await holds.hold(held, verdict.decisions, verdict.correlation, verdict.trace)
        own = await holds.answer(held, verdict)
        if own is not None:
            return own
        rewrite = await holds.rewrite_of(held)
        reply = await self._send(endpoint, http.body, verdict, head, request)
        if rewrite is None:
            return reply
        return await rewritten(reply, rewrite, endpoint.engine.config.limits.listing_reply_bytes)

    async def _guarded(self, work: Callable[[], Awaitable[HttpReply]]) -> HttpReply:
        # A client that goes at once cancels this before its first step: `work` is then not begun.
        try:
            return await work()
        except HttpRefused as refused:
            return self._refuse(refused)
        except Exception as error:  # noqa: BLE001  as in `handle`
            return self._fail(error)

    def _batch(
        self, endpoint: Endpoint, http: HttpRequest, head: Head, batch: Batch
    ) -> HttpReply | Awaitable[HttpReply]:
        """Send on the members that may go on; answer the others in the same reply."""
        if head.header("mcp-protocol-version") not in _BATCHES:
            raise HttpRefused(400, "this protocol revision has no batches: send one message a POST")
        for name in ("mcp-method", "mcp-name"):
            if head.header(name) is not None:
                raise HttpRefused(400, f"`{name}` tells of one message, and the body is a batch")
        to, now = endpoint.route, self._now()
        sent: list[bytes] = []
        requests: list[Request] = []
        grounds: list[MessageGrounds] = []
        own: list[bytes] = []
        for read, raw in batch.members:
            verdict = self._authorizer.authorize(to.source, head, read, raw, now, alone=False)
            if isinstance(verdict, Refuse):
                if not isinstance(read, Notification):  # which gets no answer
                    own.append(verdict.body)
                continue
            assert not isinstance(verdict, Hold)  # noqa: S101  no member of a batch is held
            sent.append(raw)
            grounds.append(verdict)
            if isinstance(read, Request):
                requests.append(read)
        if not sent:
            return HttpReply(200, JSON, b"[%b]" % b",".join(own)) if own else HttpReply(202)
        all_sent = len(sent) == len(batch.members)
        body = http.body if all_sent else b"[%b]" % b",".join(sent)
        permit = endpoint.engine.permit(to.source, to.target, body, tuple(grounds))
        handler = partial(filtered.answer, own=own)
        return Exchange(endpoint, permit, head, handler, requests).send()

    def _endpoint(self, target: str) -> Endpoint:
        """That of a request target, remembered. Raises `HttpRefused`."""
        endpoint = self._endpoints.get(target)
        if endpoint is None:
            sources = self._active.engine.config.sources
            endpoint = self._new_endpoint(route(target, sources))
            self._endpoints.put(target, endpoint, len(target))
        return endpoint

    def _endpoint_now(self, source: str, target: str) -> Endpoint:
        """That of a call which was held under an earlier configuration. Raises `UpstreamError`."""
        for one in self._active.engine.config.enabled_sources:
            if one.id == source:
                return self._new_endpoint(Route(one, target))
        raise UpstreamError("its server is not in the configuration any more", sent=False)

    def _new_endpoint(self, to: Route) -> Endpoint:
        active = self._active
        pool = active.upstreams[to.source.id]
        return Endpoint(to, active.engine, pool, self._record, self._changes)

    def _refuse(self, refused: HttpRefused) -> HttpReply:
        self._record.refused(self._new_id(), refused.status, refused.reason, limit=refused.limit)
        body = answers.error(None, message.INVALID_REQUEST, refused.reason)
        return HttpReply(refused.status, [*JSON, *refused.headers], body)

    def _fail(self, error: Exception) -> HttpReply:
        correlation = self._new_id()
        self._record.broken(correlation, error)
        text = f"ThoughtGate failed and let nothing pass (correlation {correlation})"
        return HttpReply(500, JSON, answers.error(None, message.INTERNAL_ERROR, text))


def _concerns_holds(request: Request, verdict: MessageGrounds | Hold) -> bool:
    """Whether a request waits for a human, or has to do with those that wait."""
    return (
        isinstance(verdict, Hold)
        or request.method in _TELLS_OF_HOLDS
        or ("requestState" in request.params and not isinstance(verdict, UngatedMessage))
    )
