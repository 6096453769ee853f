"""The cluster itself: what tests of the main job take for granted."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster import binaries
from tests.cluster.cluster import Cluster
from tests.cluster.commands import CommandFailedError

SERVER = "python3 -m http.server --directory /content --protocol HTTP/1.1 3000"
# Of cgroup's version 1 or 2: microseconds in each 100,000.
SHOWS_CPU_LIMIT = "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us || cat /sys/fs/cgroup/cpu.max"
WAITS = "import signal; signal.sigwait([signal.SIGTERM])"


def container(name: str, image: str, *command: str, **more: object) -> dict[str, Any]:
    """A container of an image that is on the node."""
    return {
        "name": name, "image": image, "imagePullPolicy": "Never", "command": list(command), **more,
    }  # fmt: skip


def pod(name: str, *containers: dict[str, Any], **spec: object) -> dict[str, Any]:
    """A pod that ends at once when it is told to."""
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"terminationGracePeriodSeconds": 0, "containers": list(containers), **spec},
    }  # fmt: skip


@pytest.fixture(scope="module")
def space(cluster: Cluster) -> Iterator[str]:
    """A namespace with these pods, created together since each takes its second or two.

    `greeter`: a native sidecar serves what a ConfigMap holds, by a Service. `caller`: waits to be
    told whom to call. `hungry` and `limited`: run into their limits, and show them.
    """
    image = cluster.base_image()
    sidecar = container(
        "server", image, *SERVER.split(), restartPolicy="Always",
        startupProbe={"httpGet": {"path": "/greeting", "port": 3000}, "periodSeconds": 1},
        volumeMounts=[{"name": "content", "mountPath": "/content"}],
    )  # fmt: skip
    volume = {"name": "content", "configMap": {"name": "content"}}
    agent = container("agent", image, "python3", "-c", f"print('agent', flush=True); {WAITS}")
    caller = container("caller", image, "python3", "-c", WAITS)
    memory, cpu = {"limits": {"memory": "32Mi"}}, {"limits": {"cpu": "250m"}}
    hungry = container("hungry", image, "python3", "-c", "b'x' * (256 << 20)", resources=memory)
    limited = container("limited", image, "sh", "-c", SHOWS_CPU_LIMIT, resources=cpu)
    items = [
        config_map("hello"),
        service("greeter"),
        pod("greeter", agent, initContainers=[sidecar], volumes=[volume]),
        pod("caller", caller),
        pod("hungry", hungry, restartPolicy="Never"),
        pod("limited", limited, restartPolicy="Never"),
    ]
    with cluster.namespace("cluster") as name:
        cluster.apply({"apiVersion": "v1", "kind": "List", "items": items}, name)
        cluster.wait_ready("greeter", name)
        cluster.wait_ready("caller", name)
        yield name


def service(name: str) -> dict[str, Any]:
    """The pods of this name, at the usual port."""
    spec = {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": 3000}]}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def config_map(greeting: str) -> dict[str, Any]:
    """What `greeter` serves."""
    metadata = {"name": "content"}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata,
        "data": {"greeting": greeting},
    }


def fetched(cluster: Cluster, space: str, url: str, by: str = "caller") -> str:
    """What a pod gets from a URL."""
    script = f"import urllib.request as r; print(r.urlopen('{url}', timeout=30).read().decode())"
    return cluster.exec(by, "python3", "-c", script, namespace=space).strip()


def test_the_node_is_ready(cluster: Cluster) -> None:
    [node] = cluster.json("get", "nodes")["items"]
    assert {c["type"]: c["status"] for c in node["status"]["conditions"]}["Ready"] == "True"
    assert node["status"]["nodeInfo"]["kubeletVersion"] == f"v{binaries.KUBERNETES}"


def test_a_native_sidecar_is_up_before_its_agent(cluster: Cluster, space: str) -> None:
    status = cluster.json("get", "pod", "greeter", "-n", space)["status"]
    [sidecar], [agent] = status["initContainerStatuses"], status["containerStatuses"]
    assert sidecar["ready"]
    assert sidecar["state"]["running"]["startedAt"] <= agent["state"]["running"]["startedAt"]


def test_logs_are_those_of_the_pods_agent(cluster: Cluster, space: str) -> None:
    assert cluster.logs("greeter", space).strip() == "agent"
    assert "GET /greeting" in cluster.logs("greeter", space, "server")


def test_a_service_is_reached_by_its_name(cluster: Cluster, space: str) -> None:
    assert fetched(cluster, space, "http://greeter/greeting").startswith("hello")


def test_a_pod_reaches_itself_through_its_service(cluster: Cluster, space: str) -> None:
    # By the longer name: the short one is the pod's own host name.
    url = f"http://greeter.{space}.svc/greeting"
    assert fetched(cluster, space, url, by="greeter").startswith("hello")


def test_a_name_outside_of_the_cluster_is_unknown_at_once(cluster: Cluster, space: str) -> None:
    before = time.monotonic()
    with pytest.raises(CommandFailedError, match="Name or service not known"):
        fetched(cluster, space, "http://outside.example/")
    # A resolver that waits in vain takes at least twice as long.
    assert time.monotonic() - before < 10


def test_a_changed_config_map_reaches_the_file_within_seconds(cluster: Cluster, space: str) -> None:
    cluster.apply(config_map("goodbye"), space)
    deadline = time.monotonic() + 60
    while fetched(cluster, space, "http://greeter/greeting") != "goodbye":
        assert time.monotonic() < deadline, "the kubelet has not synchronised within a minute"
        time.sleep(0.2)


def test_a_memory_limit_is_enforced(cluster: Cluster, space: str) -> None:
    cluster.wait("jsonpath={.status.phase}=Failed", "pod/hungry", space)
    [status] = cluster.json("get", "pod", "hungry", "-n", space)["status"]["containerStatuses"]
    assert status["state"]["terminated"]["reason"] == "OOMKilled"


def test_a_cpu_limit_is_in_the_cgroup(cluster: Cluster, space: str) -> None:
    cluster.wait("jsonpath={.status.phase}=Succeeded", "pod/limited", space)
    assert cluster.logs("limited", space).split()[0] == "25000"
