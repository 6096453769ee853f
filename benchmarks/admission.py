"""`make bench-admission`: what a pod's creation costs with the injector, in the real cluster.

The p99 is of the injector's own histogram, the mean is the API server's `_sum/_count` for our
webhook (its buckets are too wide for a p99); the load is server-side dry-run creates.
"""

import copy
import os
import platform
import re
import statistics
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.cluster import binaries, cluster, creations, replicas
from tests.cluster.cluster import Cluster
from tests.cluster.creations import Created
from tests.cluster.install import install
from thoughtgate_injector.core import names

RESULTS = Path(__file__).parent / "results" / "admission.md"
PER_SECOND = 50
SECONDS = 30
PODS = 500
SIZES = (1, 4, 16, 64, 256, 1024)  # KiB
EACH = 10  # creations of each size
# A second, of those: a pod of 1 MiB costs the API server and its policies far more than us.
SLOWLY = 1

_BUCKET = re.compile(
    r'thoughtgate_injector_review_seconds_bucket\{entry="pod",le="([^"]+)"\} (\S+)'
)
_SUM = re.compile(r'thoughtgate_injector_review_seconds_(sum|count)\{entry="pod"\} (\S+)')
_WEBHOOK = re.compile(
    r"apiserver_admission_webhook_admission_duration_seconds_(sum|count)"
    r'\{name="pod\.thoughtgate\.io",[^}]*\} (\S+)'
)


@dataclass(frozen=True)
class Seen:
    """Counters at one moment: of all replicas together, and of the API server."""

    buckets: dict[float, float]
    """Seconds -> reviews that took no longer."""
    seconds: float
    reviews: float
    webhook_seconds: float
    webhook_calls: float

    def since(self, before: "Seen") -> "Seen":
        return Seen(
            {edge: n - before.buckets.get(edge, 0) for edge, n in self.buckets.items()},
            self.seconds - before.seconds,
            self.reviews - before.reviews,
            self.webhook_seconds - before.webhook_seconds,
            self.webhook_calls - before.webhook_calls,
        )

    def quantile(self, share: float) -> float:
        """Seconds, by a straight line within the bucket, as Prometheus's histogram_quantile."""
        wanted, below, edge_below = share * self.reviews, 0.0, 0.0
        for edge in sorted(self.buckets):
            count = self.buckets[edge]
            if count >= wanted and count > below:
                return edge_below + (edge - edge_below) * (wanted - below) / (count - below)
            below, edge_below = count, edge
        return edge_below


def look(up: Cluster) -> Seen:
    """Read all counters."""
    buckets: dict[float, float] = {}
    own = {"sum": 0.0, "count": 0.0}
    for replica in replicas.ready(up):
        text = replica.metrics(up)
        for edge, number in _BUCKET.findall(text):
            buckets[float(edge)] = buckets.get(float(edge), 0) + float(number)
        for name, number in _SUM.findall(text):
            own[name] += float(number)
    calls = {"sum": 0.0, "count": 0.0}
    for name, number in _WEBHOOK.findall(up.kubectl("get", "--raw", "/metrics")):
        calls[name] += float(number)
    return Seen(buckets, own["sum"], own["count"], calls["sum"], calls["count"])


def steady(up: Cluster, namespace: str, rows: list[str]) -> None:
    """The pace of the budget, without the webhook and with it."""
    plain = creations.agent()
    del plain["metadata"]["annotations"]
    for what, pod in (("without the injector", plain), ("with it", creations.agent())):
        before = look(up)
        with creations.creating(up, namespace, PER_SECOND, pod) as load:
            load.await_created(PER_SECOND * SECONDS, SECONDS * 3)
        spent = look(up).since(before)
        rows.append(
            f"| creations at {PER_SECOND}/s {what} | {told(load.created)}, "
            f"{load.left_out} left out |"
        )
        if spent.reviews:
            mean = spent.webhook_seconds / spent.webhook_calls
            rows.append(
                f"| reviews, by the injector's histogram | {spent.reviews:.0f}: p50 "
                f"{spent.quantile(0.5) * 1e3:.2f} ms, p99 {spent.quantile(0.99) * 1e3:.2f} ms |"
            )
            rows.append(f"| reviews, by the API server | mean {mean * 1e3:.2f} ms |")


def told(created: Iterable[Created]) -> str:
    found = list(created)
    times = sorted(one.seconds * 1e3 for one in found)
    failed = sum(one.status != 201 for one in found)
    p99 = times[int(len(times) * 0.99)]
    return (
        f"{len(found)}: p50 {statistics.median(times):.1f} ms, p99 {p99:.1f} ms, {failed} failures"
    )


def from_nothing(up: Cluster, namespace: str, rows: list[str]) -> None:
    """A Deployment of pods that no node takes, until all of them are there."""
    agent = creations.agent(nodeSelector={"thoughtgate.io/none": "such"})
    template = {"metadata": agent["metadata"], "spec": agent["spec"]}
    template["metadata"].pop("generateName")
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "many"},
        "spec": {
            "replicas": PODS,
            "selector": {"matchLabels": {"app": "load"}},
            "template": template,
        },
    }
    before, began = look(up), time.monotonic()
    up.apply(deployment, namespace)

    def there() -> bool:
        status = up.json("get", "deployment", "many", "-n", namespace)["status"]
        return bool(status.get("replicas") == PODS)

    replicas.until(there, f"{PODS} pods", 120)
    seconds = time.monotonic() - began
    spent = look(up).since(before)
    events = up.json("get", "events", "-n", namespace, "--field-selector=reason=FailedCreate")
    rows.append(
        f"| {PODS} pods from nothing | {seconds:.1f} s, {spent.reviews:.0f} reviews, p99 "
        f"{spent.quantile(0.99) * 1e3:.2f} ms, {len(events['items'])} failures |"
    )
    up.kubectl("delete", "deployment", "many", "-n", namespace, "--wait=false")


def by_size(up: Cluster, namespace: str, rows: list[str]) -> None:
    """The same pod with more and more environment."""
    for size in SIZES:
        pod = sized(size * 1024)
        before = look(up)
        with creations.creating(up, namespace, SLOWLY, pod) as load:
            load.await_created(EACH, 120)
        spent = look(up).since(before)
        own = spent.seconds / spent.reviews * 1e3
        whole = spent.webhook_seconds / spent.webhook_calls * 1e3
        rows.append(
            f"| a pod of {size} KiB | in the injector {own:.2f} ms, for the API server "
            f"{whole:.2f} ms, {sum(one.status != 201 for one in load.created)} failures |"
        )


def sized(size: int) -> dict[str, Any]:
    pod = copy.deepcopy(creations.agent())
    lines = [{"name": f"V{number}", "value": "x" * 1000} for number in range(size // 1024)]
    pod["spec"]["containers"][0]["env"] = lines
    return pod


def memory(up: Cluster) -> str:
    """Resident megabytes of each replica."""
    found = []
    for replica in replicas.ready(up):
        for pid in replica.processes():
            status = Path(f"/proc/{pid}/status").read_text()
            [resident] = re.findall(r"VmRSS:\s+(\d+) kB", status)
            found.append(f"{int(resident) / 1024:.0f} MB")
    return ", ".join(found)


def connections(up: Cluster) -> int:
    """How many the API server has to all replicas. Source: proc_pid_net(5), state 01."""
    here, found = f":{names.WEBHOOK_PORT:04X}", 0
    for replica in replicas.ready(up):
        for pid in replica.processes()[:1]:  # all of them are in one network namespace
            for table in ("tcp", "tcp6"):
                lines = Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
                rows = [line.split() for line in lines]
                found += sum(row[1].endswith(here) and row[3] == "01" for row in rows)
    return found


def measured(up: Cluster) -> list[str]:
    """The table's rows."""
    install(up)
    rows = ["| what | measured |", "|---|---|"]
    with up.namespace("bench") as namespace:
        rows.append(f"| memory of a replica, idle | {memory(up)} |")
        steady(up, namespace, rows)
        from_nothing(up, namespace, rows)
        rows.append(f"| memory of a replica, after these | {memory(up)} |")
        by_size(up, namespace, rows)
        rows.append(f"| memory of a replica, after large pods | {memory(up)} |")
        # The API server keeps connections that nobody uses for 90 s; each has buffers of 256 KiB.
        replicas.until(lambda: not connections(up), "the end of all connections", 180)
        rows.append(f"| memory of a replica, once its connections have ended | {memory(up)} |")
    return rows


def main() -> int:
    """The exit code: 0, or 1 where there can be no cluster."""

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    busy, _, _ = os.getloadavg()
    try:
        with cluster.running(say) as up:
            rows = measured(up)
    except cluster.ClusterUnavailableError as error:
        say(f"no cluster: {error}")
        return 1
    packages = ", ".join(f"{name} {version(name)}" for name in ("kopf", "aiohttp", "kubernetes"))
    words = (
        f"Kubernetes {binaries.KUBERNETES}, Python {platform.python_version()} here, {packages}, "
        f"{os.cpu_count()} cores for all of it (with a load of {busy:.1f} by others before it "
        "began), one replica of the base's Deployment."
    )
    text = f"# Admission, as `make bench-admission` measured it\n\n{words}\n\n" + "\n".join(rows)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(text + "\n")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
