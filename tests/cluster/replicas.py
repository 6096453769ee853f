"""The injector's replicas in the cluster: which there are, what each has done, and their end."""

import datetime as dt
import json
import os
import re
import signal
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from tests.cluster.cluster import Cluster
from tests.cluster.install import NAMESPACE
from thoughtgate_injector.tls.certificates import Authority

DEPLOYMENT = "deployment/thoughtgate-injector"
PODS = ("get", "pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/name=thoughtgate-injector")


@dataclass(frozen=True)
class Replica:
    """One pod of the injector."""

    name: str
    uid: str
    address: str

    def metrics(self, cluster: Cluster) -> str:
        """Its own numbers, by way of the API server."""
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{self.name}:8081/proxy/metrics"
        return cluster.kubectl("get", "--raw", path)

    def reviews(self, cluster: Cluster) -> float:
        """How many it has answered."""
        found = re.findall(r"^thoughtgate_injector_reviews_total\{.*\} (\S+)$",
                           self.metrics(cluster), re.MULTILINE)  # fmt: skip
        return sum(map(float, found))

    def serves_leaf_of(self, authority: Authority) -> bool:
        """Whether new connections meet a certificate that this CA has signed."""
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection((self.address, 8443), timeout=30) as link,
            context.wrap_socket(link) as secured,
        ):
            served = secured.getpeercert(binary_form=True)
        assert served is not None
        try:
            x509.load_der_x509_certificate(served).verify_directly_issued_by(authority.certificate)
        except (ValueError, InvalidSignature):
            return False
        return True

    def processes(self) -> list[int]:
        """Its container's processes, on the node; a pod's cgroup has the pod's uid in its name."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                is_its = f"/pod{self.uid}/" in (process / "cgroup").read_text()
                words = (process / "cmdline").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if is_its and "thoughtgate-injector" in words:
                found.append(int(process.name))
        return found

    def kill(self) -> None:
        """SIGKILL, from outside: inside of its container a first process does not die of it."""
        processes = self.processes()
        assert processes, "no process of the replica was found"
        for pid in processes:
            os.kill(pid, signal.SIGKILL)


def ready(cluster: Cluster) -> list[Replica]:
    """Those that are Ready and not told to end."""
    return [
        Replica(pod["metadata"]["name"], pod["metadata"]["uid"], pod["status"]["podIP"])
        for pod in cluster.json(*PODS)["items"]
        if "deletionTimestamp" not in pod["metadata"]
        and any(
            (condition["type"], condition["status"]) == ("Ready", "True")
            for condition in pod["status"].get("conditions", ())
        )
    ]


def rolled_out(cluster: Cluster, limit: float = 120) -> None:
    """Wait until all replicas are there, of the newest template."""
    words = ("rollout", "status", DEPLOYMENT, "-n", NAMESPACE, f"--timeout={limit:.0f}s")
    cluster.kubectl(*words, limit=limit + 10)


def busiest(cluster: Cluster, work: Callable[[], None]) -> Replica:
    """That which answered most of the reviews during `work`: connections that stay pin them."""
    found = ready(cluster)
    before = {replica: replica.reviews(cluster) for replica in found}
    work()
    done = {replica: replica.reviews(cluster) - before[replica] for replica in found}
    print("reviews by replica:", sorted(map(int, done.values())))
    return max(done, key=lambda replica: done[replica])


def secret(cluster: Cluster) -> dict[str, Any]:
    """The CA's Secret."""
    found: dict[str, Any] = cluster.json(
        "get", "secret", "thoughtgate-injector-ca", "-n", NAMESPACE
    )
    return found


def until(condition: Callable[[], bool], what: str, limit: float = 60) -> None:
    """Wait for a condition in the cluster."""
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.3)  # the pace of asking


def now() -> dt.datetime:
    """The node's clock, which is also the API server's."""
    return dt.datetime.now(dt.UTC)


def scale(cluster: Cluster, replicas: int) -> None:
    """Ask for so many."""
    cluster.kubectl("scale", DEPLOYMENT, "-n", NAMESPACE, f"--replicas={replicas}")


def evict(cluster: Cluster, replica: Replica) -> None:
    """Through the Eviction API, as `kubectl drain` does."""
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": replica.name, "namespace": NAMESPACE},
    }
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{replica.name}/eviction"
    cluster.kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
