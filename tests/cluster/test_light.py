"""The smallest sidecar there is, 50Mi and a tenth of a processor, under load for minutes."""

import datetime as dt
import json
from typing import Any

import pytest

from tests.cluster import cgroups
from tests.cluster.cluster import Cluster
from tests.cluster.images import ROOT
from tests.cluster.install import install
from tests.cluster.main_job import SIDECAR, pod, server

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]
LOAD = (ROOT / "tests" / "cluster" / "pods" / "load.py").read_text()
CONFIG = """
schema: 1
sources: [{id: upstream, kind: mcp, url: "http://mcp-server:3000"}]
governance:
  defaults: {action: forward}
  rules: [{match: "delete_*", action: approve}]
approval:
  default: {adapter: page, timeout: 1h, hold: 10m}
"""
SECONDS, RATE, HELD = 300, 200, 10
MIB = 1 << 20


def test_the_light_profile_holds_ten_approvals_and_carries_200_calls_a_second(
    cluster: Cluster, mcp_image: str
) -> None:
    install(cluster)
    with cluster.namespace("light") as name:
        data = {"config.yaml": CONFIG}
        metadata = {"name": "thoughtgate-config"}
        cluster.apply(
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}, name
        )
        secret = ("create", "secret", "generic", "thoughtgate-secrets", "-n", name)
        cluster.kubectl(*secret, "--from-literal=approver-tokens=alice:0123456789abcdefghijkl\n")
        cluster.apply(server(mcp_image), name)
        cluster.wait("condition=Available", "deployment/mcp-server", name)
        agent = pod("light", mcp_image, {"app": "light"})
        agent["metadata"]["annotations"]["thoughtgate.io/profile"] = "light"
        cluster.apply(agent, name)
        cluster.wait_ready("light", name, limit=120)
        start = seconds_to_ready(cluster, name)
        before = cgroups.use(cluster.pid("light", SIDECAR, name))
        words = ("exec", "-n", name, "light", "--", "python", "-c", LOAD)
        told = cluster.kubectl(*words, str(SECONDS), str(RATE), str(HELD), limit=SECONDS + 120)
        found: dict[str, Any] = json.loads(told)
        after = cgroups.use(cluster.pid("light", SIDECAR, name))
        status = cluster.json("get", "pod", "light", "-n", name)["status"]
    used = after.cpu - before.cpu
    throttled = after.throttled - before.throttled
    periods = after.periods - before.periods
    print(
        f"ready after {start:.1f} s; {found}; CPU {used:.1f} s, "
        f"{used / found['calls'] * 1e6:.0f} us a call; throttled in {throttled} of {periods} "
        f"periods; memory at most {after.memory_peak / MIB:.1f} MiB of 50"
    )
    assert status["initContainerStatuses"][0]["restartCount"] == 0
    assert found["calls"] == SECONDS * RATE
    assert found["wrong"] == 0
    assert (found["held"], found["still_held"]) == (HELD, HELD)
    assert found["p50"] < 20, "throttled to death"


def seconds_to_ready(cluster: Cluster, namespace: str) -> float:
    """From the start of the sidecar's container to its own word that it serves."""
    status = cluster.json("get", "pod", "light", "-n", namespace)["status"]
    started = status["initContainerStatuses"][0]["state"]["running"]["startedAt"]
    for line in map(json.loads, cluster.logs("light", namespace, SIDECAR).splitlines()):
        if line["message"] == "ready":
            took = dt.datetime.fromisoformat(line["time"]) - dt.datetime.fromisoformat(started)
            return took.total_seconds()  # the kubelet tells whole seconds, so up to one too many
    raise AssertionError("no line says that it is ready")
