"""The watchdog's index of pods and namespaces; informers fill it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from thoughtgate_injector.core import names
from thoughtgate_injector.core.pod_summary import (
    PodSummary,
    SidecarState,
    SidecarStatus,
    summarize,
)
from thoughtgate_injector.core.review import Reviewer


@dataclass(frozen=True, slots=True)
class PodCounts:
    """Pods by namespace and state, and sidecars by version and image."""

    states: Mapping[tuple[str, SidecarState], int]
    sidecars: Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True)
class PodStore:
    """Summaries of pods by uid."""

    reviewer: Reviewer
    summaries: dict[str, PodSummary] = field(default_factory=dict)

    def put(self, document: dict[str, Any]) -> None:
        summary = summarize(document, self.reviewer)
        if summary is None:
            self.drop(document["metadata"]["uid"])
        else:
            self.summaries[summary.uid] = summary

    def drop(self, uid: str) -> None:
        self.summaries.pop(uid, None)

    def uids(self) -> set[str]:
        return set(self.summaries)


@dataclass(frozen=True, slots=True)
class NamespaceStore:
    """The values of the namespaces' `thoughtgate.io/inject` labels."""

    words: dict[str, str] = field(default_factory=dict)
    """By the namespace's name; namespaces without the label are left out."""
    _names: dict[str, str] = field(default_factory=dict)

    def put(self, document: dict[str, Any]) -> None:
        metadata = document["metadata"]
        word = (metadata.get("labels") or {}).get(names.INJECT)
        self._names[metadata["uid"]] = metadata["name"]
        if isinstance(word, str):
            self.words[metadata["name"]] = word
        else:
            self.words.pop(metadata["name"], None)

    def drop(self, uid: str) -> None:
        self.words.pop(self._names.pop(uid, ""), None)

    def uids(self) -> set[str]:
        return set(self._names)


@dataclass(frozen=True, slots=True)
class PodIndex:
    """Pods and namespaces together: a pod may be opted in by either."""

    pods: PodStore
    namespaces: NamespaceStore = field(default_factory=NamespaceStore)

    def statuses(self) -> list[tuple[PodSummary, SidecarStatus]]:
        """Give each opted-in pod with the status of its sidecar."""
        found = (
            (pod, pod.status_in(self.namespaces.words.get(pod.namespace)))
            for pod in self.pods.summaries.values()
        )
        return [(pod, status) for pod, status in found if status is not None]

    def count(self) -> PodCounts:
        """Count the opted-in pods."""
        states: Counter[tuple[str, SidecarState]] = Counter()
        sidecars: Counter[tuple[str, str]] = Counter()
        for pod, status in self.statuses():
            states[pod.namespace, status.state] += 1
            if status.version:
                sidecars[status.version, status.image] += 1
        return PodCounts(states, sidecars)
