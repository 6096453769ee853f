"""The watchdog: says which opted-in pods have no sidecar or an old one, and evicts where told to.

It is beside the webhook, never in its way: it finds what came in while the webhook was open or
away, and what was injected before an upgrade.
"""

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
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
from thoughtgate_injector.watchdog.pod_index import NamespaceStore, PodIndex, PodStore

logger = logging.getLogger(__name__)

NAMESPACES_PATH: Final = "/api/v1/namespaces"
PODS_PATH: Final = "/api/v1/pods"
WEBHOOK_PATH: Final = (
    f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{names.INJECTOR}"
)
STEP: Final = 1.0  # seconds between two looks at the ledger
EVENTS: Final = 5  # that are written per step
# Seconds after which an event is said again: Kubernetes forgets it after an hour.
AGAIN: Final = 3600.0
_WEBHOOK_PAUSE: Final = 15.0  # seconds between two looks at the webhook's configuration
_REASONS: Final = {SidecarState.MISSING: "SidecarMissing", SidecarState.OUTDATED: "SidecarOutdated"}
_ADVICE: Final = {
    SidecarState.MISSING: "its calls are not gated; restart it",
    SidecarState.OUTDATED: "restart it to bring it up to date",
}


@dataclass(slots=True)
class Watchdog:
    """All of it; `operate` runs it."""

    kube: KubeClient
    reviewer: Reviewer
    evictions: Evictions
    clock: Callable[[], float]
    """Seconds, monotonic."""
    now: Callable[[], str]
    """The time as the API server writes times."""
    step: float = STEP
    ledger: PodIndex = field(init=False)
    metrics: WatchdogMetrics = field(init=False)
    _synced: set[str] = field(default_factory=set)
    _said: dict[tuple[str, SidecarState], float] = field(default_factory=dict)
    _webhook_at: float | None = None
    _webhook_in_place: bool = False

    def __post_init__(self) -> None:
        self.ledger = PodIndex(self.reviewer)
        self.metrics = WatchdogMetrics(self.ledger.count, self.evictions.futile)

    def missing(self) -> list[str]:
        """Name what keeps it from being ready."""
        return [
            f"the {what} are not listed yet"
            for what in ("namespaces", "pods")
            if what not in self._synced
        ]

    async def operate(self, stop: asyncio.Event) -> None:
        """Watch until `stop` is set."""
        ended = threading.Event()
        for what, path, sink in (
            ("namespaces", NAMESPACES_PATH, NamespaceStore(self.ledger)),
            ("pods", PODS_PATH, PodStore(self.ledger)),
        ):
            follower = Informer(self.kube, path, sink, self._synchronised(what))
            # A daemon: one that waits for the next line of a watch must not hold up the end.
            threading.Thread(target=follower.run, args=(ended,), name=what, daemon=True).start()
        try:
            while not stop.is_set():
                await asyncio.to_thread(self.act)
                try:
                    await asyncio.wait_for(stop.wait(), self.step)
                except TimeoutError:
                    continue
        finally:
            ended.set()

    def act(self) -> None:
        """Say what is new, and evict one pod if it is time; only with all that there is in view."""
        if self.missing():
            return
        self._look_at_webhook()
        troubled = [
            (seen, standing)
            for seen, standing in self.ledger.statuses()
            if standing.state is not SidecarState.CURRENT
        ]
        self._say(troubled)
        if self._webhook_in_place:
            # Else what is evicted would come back as it was, or not at all.
            self._evict([(seen, standing.state) for seen, standing in troubled])

    def _synchronised(self, what: str) -> Callable[[], None]:
        def synced() -> None:
            self._synced.add(what)
            self.metrics.listed(what)

        return synced

    def _look_at_webhook(self) -> None:
        """See whether the webhook is in force: somebody may have broken the glass."""
        now = self.clock()
        if self._webhook_at is not None and now - self._webhook_at < _WEBHOOK_PAUSE:
            return
        self._webhook_at = now
        try:
            found = msgspec.json.decode(self.kube.get(WEBHOOK_PATH))
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

    def _say(self, troubled: list[tuple[PodSummary, SidecarStatus]]) -> None:
        now = self.clock()
        there = {(seen.uid, standing.state) for seen, standing in troubled}
        self._said = {
            key: at for key, at in self._said.items() if key in there and now - at < AGAIN
        }
        unsaid = (pair for pair in troubled if (pair[0].uid, pair[1].state) not in self._said)
        for seen, standing in self._few(unsaid):
            # Also where it fails: a namespace that is being removed takes no events.
            self._said[seen.uid, standing.state] = now
            try:
                self.kube.post(
                    f"{NAMESPACES_PATH}/{seen.namespace}/events",
                    event(seen, standing, self.now()),
                )
            except KubeError as error:
                logger.warning("an event cannot be written: %s", error)
            logger.info(
                "pod",
                extra={
                    "fields": {
                        "state": standing.state.value,
                        "namespace": seen.namespace,
                        "pod": seen.name,
                        "reason": standing.reason,
                    }
                },
            )

    @staticmethod
    def _few(
        pairs: Iterator[tuple[PodSummary, SidecarStatus]],
    ) -> Iterator[tuple[PodSummary, SidecarStatus]]:
        for _, pair in zip(range(EVENTS), pairs, strict=False):
            yield pair

    def _evict(self, troubled: list[tuple[PodSummary, SidecarState]]) -> None:
        now = self.clock()
        seen = self.evictions.next(now, troubled)
        if seen is None:
            return
        evicted = None
        try:
            evicted = self.kube.post(
                f"{NAMESPACES_PATH}/{seen.namespace}/pods/{seen.name}/eviction", eviction(seen)
            )
            outcome = "evicted"
        except KubeError as error:
            outcome = _EVICTION_OUTCOMES.get(error.status, "failed")
            logger.info("an eviction was not granted: %s", error)
        self.evictions.tried(seen, now, evicted)
        self.metrics.evicted(outcome)
        fields = {"outcome": outcome, "namespace": seen.namespace, "pod": seen.name}
        logger.info("eviction", extra={"fields": fields})


_EVICTION_OUTCOMES: Final[dict[int, str]] = {
    HTTPStatus.TOO_MANY_REQUESTS: "disruption_budget",
    HTTPStatus.NOT_FOUND: "gone",
    HTTPStatus.CONFLICT: "gone",
}


def event(seen: PodSummary, standing: SidecarStatus, now: str) -> dict[str, Any]:
    """Make the event about a pod that is not as it should be."""
    message = f"the pod asks for ThoughtGate, but {standing.reason}: {_ADVICE[standing.state]}"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{seen.name[:50]}.", "namespace": seen.namespace},
        "involvedObject": {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": seen.name,
            "namespace": seen.namespace,
            "uid": seen.uid,
        },
        "type": "Warning",
        "reason": _REASONS[standing.state],
        "message": message[:1024],
        "source": {"component": names.WATCHDOG},
        "reportingComponent": names.WATCHDOG,
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


def eviction(seen: PodSummary) -> dict[str, Any]:
    """Make the eviction of this very pod, not of one that has taken its name meanwhile."""
    return {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": seen.name, "namespace": seen.namespace},
        "deleteOptions": {"preconditions": {"uid": seen.uid}},
    }
