"""What a person would look at when something in the cluster failed."""

import subprocess
from pathlib import Path
from typing import Any, Protocol

from tests.cluster.commands import CommandFailedError

EVENTS = 40
LINES = 40
PODS = 6  # described, with their logs; more would bury the first
# How the programs begin a line that tells of trouble: Kubernetes, then containerd, etcd, CoreDNS.
_TROUBLE = ("E1", "E0", "F1", "F0")
_WORDS = ("level=error", "level=fatal", '"level":"error"', '"level":"fatal"', "[ERROR]", "panic:")


class Looked(Protocol):
    """What the report needs of a cluster."""

    @property
    def component_logs(self) -> Path:
        """The folder of the logs of the node's programs."""

    def kubectl(self, *words: str, limit: float = 60) -> str:
        """What kubectl prints."""

    def json(self, *words: str) -> Any:
        """The same, of an object."""


def text(cluster: Looked, namespace: str = "") -> str:
    """Events, pods that are not Ready and their logs, errors of the node's programs."""
    where = ["-n", namespace] if namespace else ["-A"]
    parts = [
        _part(cluster, ["get", "pods", *where, "-o", "wide"]),
        _part(cluster, ["get", "events", *where, "--sort-by=.metadata.creationTimestamp"], EVENTS),
    ]
    try:
        pods = cluster.json("get", "pods", *where)["items"]
    except (CommandFailedError, subprocess.TimeoutExpired):
        pods = []
    for pod in [pod for pod in pods if not _is_well(pod)][:PODS]:
        parts += _of_pod(cluster, pod)
    parts += [_of_program(log) for log in sorted(cluster.component_logs.glob("*.log"))]
    return "\n".join(part for part in parts if part)


def _is_well(pod: dict[str, Any]) -> bool:
    status = pod.get("status", {})
    conditions = {c["type"]: c["status"] for c in status.get("conditions", [])}
    return status.get("phase") == "Succeeded" or conditions.get("Ready") == "True"


def _of_pod(cluster: Looked, pod: dict[str, Any]) -> list[str]:
    metadata, spec = pod["metadata"], pod["spec"]
    name, where = metadata["name"], ["-n", metadata["namespace"]]
    parts = [_part(cluster, ["describe", "pod", name, *where], 200)]
    restarts = {
        status["name"]: status.get("restartCount", 0)
        for kind in ("initContainerStatuses", "containerStatuses")
        for status in pod.get("status", {}).get(kind, [])
    }
    for container in [*spec.get("initContainers", []), *spec["containers"]]:
        logs = ["logs", name, *where, "-c", container["name"], f"--tail={LINES}"]
        parts.append(_part(cluster, logs))
        if restarts.get(container["name"]):
            parts.append(_part(cluster, [*logs, "--previous"]))
    return parts


def _part(cluster: Looked, words: list[str], lines: int = 100) -> str:
    try:
        said = cluster.kubectl(*words, limit=20)
    except (CommandFailedError, subprocess.TimeoutExpired) as error:
        said = str(error)
    return f"--- kubectl {' '.join(words)}\n" + "\n".join(said.strip().splitlines()[-lines:])


def _of_program(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    trouble = [
        line for line in lines if line.startswith(_TROUBLE) or any(word in line for word in _WORDS)
    ]
    return f"--- {log.stem}, errors\n" + "\n".join(trouble[-8:]) if trouble else ""
