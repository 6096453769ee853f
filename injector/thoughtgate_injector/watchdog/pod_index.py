"""What the watchdog knows of the cluster's pods and namespaces; filled and read by threads."""

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from thoughtgate_injector.core import names
from thoughtgate_injector.core.pod_summary import PodSummary, SidecarState, SidecarStatus, summarize
from thoughtgate_injector.core.review import Reviewer


@dataclass(frozen=True, slots=True)
class PodCounts:
    """Pods by namespace and state, and sidecars by version and image."""

    states: Mapping[tuple[str, SidecarState], int]
    sidecars: Mapping[tuple[str, str], int]


@dataclass(slots=True)
class PodIndex:
    """Pods by uid, and the words of the namespaces' labels."""

    reviewer: Reviewer
    _pods: dict[str, PodSummary] = field(default_factory=dict)
    _words: dict[str, str] = field(default_factory=dict)
    _namespaces: dict[str, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def statuses(self) -> list[tuple[PodSummary, SidecarStatus]]:
        """Give each opted-in pod with how it stands."""
        with self._lock:
            found = (
                (seen, seen.status_in(self._words.get(seen.namespace)))
                for seen in self._pods.values()
            )
            return [(seen, standing) for seen, standing in found if standing is not None]

    def count(self) -> PodCounts:
        """Count the opted-in pods."""
        states: Counter[tuple[str, SidecarState]] = Counter()
        sidecars: Counter[tuple[str, str]] = Counter()
        for seen, standing in self.statuses():
            states[seen.namespace, standing.state] += 1
            if standing.version:
                sidecars[standing.version, standing.image] += 1
        return PodCounts(states, sidecars)

    def put_pod(self, document: dict[str, Any]) -> None:
        seen = summarize(document, self.reviewer)
        with self._lock:
            if seen is None:
                self._pods.pop(document["metadata"]["uid"], None)
            else:
                self._pods[seen.uid] = seen

    def drop_pod(self, uid: str) -> None:
        with self._lock:
            self._pods.pop(uid, None)

    def pod_uids(self) -> set[str]:
        with self._lock:
            return set(self._pods)

    def put_namespace(self, document: dict[str, Any]) -> None:
        metadata = document["metadata"]
        word = (metadata.get("labels") or {}).get(names.INJECT)
        with self._lock:
            self._namespaces[metadata["uid"]] = metadata["name"]
            if isinstance(word, str):
                self._words[metadata["name"]] = word
            else:
                self._words.pop(metadata["name"], None)

    def drop_namespace(self, uid: str) -> None:
        with self._lock:
            self._words.pop(self._namespaces.pop(uid, ""), None)

    def namespace_uids(self) -> set[str]:
        with self._lock:
            return set(self._namespaces)


@dataclass(frozen=True, slots=True)
class PodStore:
    """The ledger's pods, as a follower fills them."""

    ledger: PodIndex

    def put(self, document: dict[str, Any]) -> None:
        self.ledger.put_pod(document)

    def drop(self, uid: str) -> None:
        self.ledger.drop_pod(uid)

    def uids(self) -> set[str]:
        return self.ledger.pod_uids()


@dataclass(frozen=True, slots=True)
class NamespaceStore:
    """The ledger's namespaces, as a follower fills them."""

    ledger: PodIndex

    def put(self, document: dict[str, Any]) -> None:
        self.ledger.put_namespace(document)

    def drop(self, uid: str) -> None:
        self.ledger.drop_namespace(uid)

    def uids(self) -> set[str]:
        return self.ledger.namespace_uids()
