"""`outdated`: the workloads to restart, since their pods have no sidecar or an old one."""

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from thoughtgate_injector.core.pod_summary import PodSummary, SidecarState, SidecarStatus
from thoughtgate_injector.core.review import Reviewer
from thoughtgate_injector.kube.client import KubeClient
from thoughtgate_injector.kube.informer import listed
from thoughtgate_injector.watchdog.pod_index import PodIndex, PodStore
from thoughtgate_injector.watchdog.watchdog import NAMESPACES_PATH, PODS_PATH

# The kinds that `kubectl rollout restart` knows.
_RESTARTED: Final = ("Deployment", "StatefulSet", "DaemonSet")


@dataclass(frozen=True, slots=True)
class RestartGroup:
    """The pods of one workload in one state, for one reason."""

    namespace: str
    kind: str
    name: str
    state: SidecarState
    reason: str
    pods: int

    def line(self) -> str:
        """Give the shell command that restarts it, or a comment where there is none."""
        count = f"{self.pods} pod{'s' if self.pods != 1 else ''} {self.state.value}: {self.reason}"
        if self.kind in _RESTARTED:
            target = shlex.quote(f"{self.kind.lower()}/{self.name}")
            namespace = shlex.quote(self.namespace)
            return f"kubectl -n {namespace} rollout restart {target}  # {count}"
        advice = "ends by itself" if self.kind == "Job" else "make it anew by hand"
        return f"# {self.namespace} {self.kind}/{self.name}: {advice}; {count}"


async def read(kube: KubeClient, reviewer: Reviewer) -> PodIndex:
    """List the cluster's namespaces and pods once. Raises KubeError and GoneError."""
    index = PodIndex(PodStore(reviewer))
    for path, store in ((NAMESPACES_PATH, index.namespaces), (PODS_PATH, index.pods)):
        async for document in listed(kube, path):
            store.put(document)
    return index


def groups(statuses: Iterable[tuple[PodSummary, SidecarStatus]]) -> Iterator[RestartGroup]:
    """Group the pods without a current sidecar by workload, sorted."""
    found: Counter[tuple[str, str, str, SidecarState, str]] = Counter()
    for pod, status in statuses:
        if status.state is not SidecarState.CURRENT:
            kind, name = ("Pod", pod.name)
            if pod.workload is not None:
                kind, name = pod.workload.kind, pod.workload.name
            found[pod.namespace, kind, name, status.state, status.reason] += 1
    for key in sorted(found, key=lambda key: (*key[:3], key[3].value, key[4])):
        yield RestartGroup(*key, found[key])
