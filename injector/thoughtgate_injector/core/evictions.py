"""Chooses the next pod to evict: at a limited rate, and not where eviction does not help."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from thoughtgate_injector.core.pod_summary import PodSummary, SidecarState, Workload

# Seconds between two evictions of one workload, so that the first replacement can start.
WORKLOAD_PAUSE: Final = 60.0
_ENDS_BY_ITSELF: Final = "Job"
_Key = tuple[str, Workload]


@dataclass(slots=True)
class _LastEviction:
    at: float
    """When the last eviction was tried: seconds, monotonic."""
    evicted: str | None = None
    """When the last one succeeded, as the API server writes times."""


@dataclass(slots=True)
class Evictions:
    """The rate limit. INVARIANT: a pod without a controller, which nothing replaces, is not chosen.

    A pod that was made after an eviction of its workload and is in no better state shows that
    evicting does not help: its workload is left alone from then on.
    """

    states: frozenset[SidecarState]
    interval: float
    """Seconds between two evictions."""
    _last: float | None = None
    _past: dict[_Key, _LastEviction] = field(default_factory=dict)
    _futile: set[_Key] = field(default_factory=set)

    def next(
        self, now: float, troubled: Iterable[tuple[PodSummary, SidecarState]]
    ) -> PodSummary | None:
        """Choose the oldest pod that may be evicted now."""
        if not self.states or (self._last is not None and now - self._last < self.interval):
            return None
        best: PodSummary | None = None
        for pod, state in troubled:
            if pod.workload is None or state not in self.states:
                continue
            if state is SidecarState.OUTDATED and pod.workload.kind == _ENDS_BY_ITSELF:
                continue
            if self._may(pod, pod.workload, now) and (
                best is None or (pod.created, pod.uid) < (best.created, best.uid)
            ):
                best = pod
        return best

    def tried(self, pod: PodSummary, now: float, evicted: str | None) -> None:
        """Record an eviction; `evicted` is the API server's time, None if it was refused."""
        if pod.workload is None:
            raise ValueError("a pod without a controller is not evicted")
        self._last = now
        past = self._past.setdefault((pod.namespace, pod.workload), _LastEviction(now))
        past.at = now
        past.evicted = evicted or past.evicted

    def futile(self) -> int:
        """Count the workloads whose replaced pods were no better."""
        return len(self._futile)

    def _may(self, pod: PodSummary, workload: Workload, now: float) -> bool:
        key = (pod.namespace, workload)
        past = self._past.get(key)
        if key in self._futile:
            return False
        if past is None:
            return True
        if past.evicted is not None and pod.created > past.evicted:
            self._futile.add(key)
            return False
        return now - past.at >= WORKLOAD_PAUSE
