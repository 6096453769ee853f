"""The watchdog: reports opted-in pods without a current sidecar, and evicts them where asked to.

It does not take part in admission: it finds pods that were created while the webhook was fail-open
or absent, and pods that were injected before an upgrade.
"""

import asyncio
import contextlib
import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

import msgspec

from thoughtgate_injector.core import names
from thoughtgate_injector.core.evictions import Evictions
from thoughtgate_injector.core.pod_summary import PodSummary, SidecarState, SidecarStatus
from thoughtgate_injector.core.review import Reviewer
from thoughtgate_injector.kube.client import KubeClient, KubeError
from thoughtgate_injector.kube.informer import Informer
from thoughtgate_injector.watchdog.metrics import WatchdogMetrics
from thoughtgate_injector.watchdog.pod_index import PodIndex, PodStore

logger = logging.getLogger(__name__)

NAMESPACES_PATH: Final = "/api/v1/namespaces"
PODS_PATH: Final = "/api/v1/pods"
WEBHOOK_PATH: Final = (
    f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{names.INJECTOR}"
)
STEP: Final = 1.0  # seconds between two reconciliations
EVENTS: Final = 5  # written per reconciliation at most
TIME_FORMAT: Final = "%Y-%m-%dT%H:%M:%SZ"  # of the API server
# Seconds after which an event is written again: Kubernetes deletes events after an hour.
AGAIN: Final = 3600.0
_WEBHOOK_PAUSE: Final = 15.0  # seconds between two looks at the webhook's configuration
_REASONS: Final = {SidecarState.MISSING: "SidecarMissing", SidecarState.OUTDATED: "SidecarOutdated"}
_ADVICE: Final = {
    SidecarState.MISSING: "its calls are not gated; restart it",
    SidecarState.OUTDATED: "restart it to bring it up to date",
}


@dataclass(slots=True)
class Watchdog:
    """The watchdog's state; `operate` runs it."""

    kube: KubeClient
    reviewer: Reviewer
    evictions: Evictions
    clock: Callable[[], float]
    """Seconds, monotonic."""
    now: Callable[[], str]
    """The time as the API server writes times."""
    step: float = STEP
    index: PodIndex = field(init=False)
    metrics: WatchdogMetrics = field(init=False)
    _synced: set[str] = field(default_factory=set)
    _reported: dict[tuple[str, SidecarState], float] = field(default_factory=dict)
    """When an event was last written about a pod in a state."""
    _webhook_at: float | None = None
    _webhook_in_place: bool = False

    def __post_init__(self) -> None:
        self.index = PodIndex(PodStore(self.reviewer))
        self.metrics = WatchdogMetrics(self.index.count, self.evictions.futile)

    def missing(self) -> list[str]:
        """Name what is not listed yet; it is ready once all is."""
        return [
            f"the {what} are not listed yet"
            for what in ("namespaces", "pods")
            if what not in self._synced
        ]

    async def operate(self, stop: asyncio.Event) -> None:
        """Watch until `stop` is set."""
        informers = [
            asyncio.create_task(Informer(self.kube, path, store, self._on_list(what)).run())
            for what, path, store in (
                ("namespaces", NAMESPACES_PATH, self.index.namespaces),
                ("pods", PODS_PATH, self.index.pods),
            )
        ]
        try:
            while not stop.is_set():
                await self.reconcile()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(stop.wait(), self.step)
        finally:
            for informer in informers:
                informer.cancel()
            await asyncio.gather(*informers, return_exceptions=True)
            await self.kube.close()

    async def reconcile(self) -> None:
        """Report what is new, and evict one pod if it is time; only once all is listed."""
        if self.missing():
            return
        await self._look_at_webhook()
        troubled = [
            (pod, status)
            for pod, status in self.index.statuses()
            if status.state is not SidecarState.CURRENT
        ]
        await self._report(troubled)
        if self._webhook_in_place:
            # Otherwise the replacement of an evicted pod would be no better, or be refused.
            await self._evict([(pod, status.state) for pod, status in troubled])

    def _on_list(self, what: str) -> Callable[[], None]:
        def listed() -> None:
            self._synced.add(what)
            self.metrics.listed(what)

        return listed

    async def _look_at_webhook(self) -> None:
        """Check that the webhook is registered: in an emergency it may have been deleted."""
        now = self.clock()
        if self._webhook_at is not None and now - self._webhook_at < _WEBHOOK_PAUSE:
            return
        self._webhook_at = now
        try:
            found = msgspec.json.decode(await self.kube.get(WEBHOOK_PATH))
        except KubeError as error:
            self._webhook_in_place = False
            if error.status != HTTPStatus.NOT_FOUND:
                logger.warning("the webhook cannot be looked at: %s", error)
                return
        else:
            entries = found.get("webhooks") or []
            self._webhook_in_place = bool(entries) and all(
                entry["clientConfig"].get("caBundle") for entry in entries
            )
        self.metrics.webhook(in_place=self._webhook_in_place)

    async def _report(self, troubled: list[tuple[PodSummary, SidecarStatus]]) -> None:
        now = self.clock()
        there = {(pod.uid, status.state) for pod, status in troubled}
        self._reported = {
            key: at for key, at in self._reported.items() if key in there and now - at < AGAIN
        }
        unreported = (
            (pod, status)
            for pod, status in troubled
            if (pod.uid, status.state) not in self._reported
        )
        for pod, status in itertools.islice(unreported, EVENTS):
            # Marked even if it fails: a namespace that is being deleted accepts no events.
            self._reported[pod.uid, status.state] = now
            try:
                await self._post(pod.namespace, "events", event(pod, status, self.now()))
            except KubeError as error:
                logger.warning("an event cannot be written: %s", error)
            fields = {"state": status.state.value, "namespace": pod.namespace, "pod": pod.name}
            logger.info("pod", extra={"fields": {**fields, "reason": status.reason}})

    async def _evict(self, troubled: list[tuple[PodSummary, SidecarState]]) -> None:
        now = self.clock()
        pod = self.evictions.next(now, troubled)
        if pod is None:
            return
        evicted = None
        try:
            evicted = await self._post(pod.namespace, f"pods/{pod.name}/eviction", eviction(pod))
            outcome = "evicted"
        except KubeError as error:
            outcome = _EVICTION_OUTCOMES.get(error.status, "failed")
            logger.info("an eviction was not granted: %s", error)
        self.evictions.tried(pod, now, evicted)
        self.metrics.evicted(outcome)
        fields = {"outcome": outcome, "namespace": pod.namespace, "pod": pod.name}
        logger.info("eviction", extra={"fields": fields})

    async def _post(self, namespace: str, what: str, body: dict[str, Any]) -> str:
        """Create an object; give the API server's time, as it writes times. Raises KubeError."""
        path = f"{NAMESPACES_PATH}/{namespace}/{what}"
        reply = await self.kube.ask("POST", path, body)
        reply.good(path)
        return parsedate_to_datetime(reply.date).strftime(TIME_FORMAT)


_EVICTION_OUTCOMES: Final[dict[int, str]] = {
    HTTPStatus.TOO_MANY_REQUESTS: "disruption_budget",
    HTTPStatus.NOT_FOUND: "gone",
    HTTPStatus.CONFLICT: "gone",
}


def event(pod: PodSummary, status: SidecarStatus, now: str) -> dict[str, Any]:
    """Make the event about a pod without a current sidecar."""
    message = f"the pod asks for ThoughtGate, but {status.reason}: {_ADVICE[status.state]}"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{pod.name[:50]}.", "namespace": pod.namespace},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": pod.name,
            "namespace": pod.namespace,
            "uid": pod.uid,
        },
        "type": "Warning",
        "reason": _REASONS[status.state],
        "message": message[:1024],
        "source": {"component": names.WATCHDOG},
        "reportingComponent": names.WATCHDOG,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


def eviction(pod: PodSummary) -> dict[str, Any]:
    """Make the eviction of the pod with this uid, not of a later one with its name."""
    return {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod.name, "namespace": pod.namespace},
        "deleteOptions": {"preconditions": {"uid": pod.uid}},
    }
