"""What users meet: refused configurations, the watchdog's words, and the glass to break."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from tests.cluster.cluster import Cluster, CommandFailedError
from tests.cluster.images import ROOT
from tests.cluster.install import NAMESPACE, install

CONFIG = (ROOT / "examples" / "config.yaml").read_text()
# docs/operate.md, "Break the glass": the very words.
BREAK = (
    "delete mutatingwebhookconfiguration/thoughtgate-injector "
    "validatingadmissionpolicybinding/thoughtgate-sidecar"
)


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Iterator[str]:
    install(cluster)
    with cluster.namespace("users") as name:
        yield name


def agent(name: str, **annotations: str) -> dict[str, Any]:
    """An opted-in pod that no node takes: it is there without costing the node anything."""
    pod: dict[str, Any] = yaml.safe_load((ROOT / "examples" / "pod.yaml").read_text())
    pod["metadata"]["name"] = name
    pod["metadata"]["annotations"] |= annotations
    pod["spec"]["nodeSelector"] = {"nowhere": "true"}
    return pod


def deployment(name: str) -> dict[str, Any]:
    pod = agent(name)
    template = {"metadata": pod["metadata"], "spec": pod["spec"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": "my-agent"}}, "template": template},
    }


def sidecars(cluster: Cluster, namespace: str, selector: str) -> list[bool]:
    """Of each pod, whether it has the sidecar."""
    pods = cluster.json("get", "pods", "-n", namespace, "-l", selector)["items"]
    return ["initContainers" in pod["spec"] for pod in pods if _stays(pod)]


def _stays(pod: dict[str, Any]) -> bool:
    return "deletionTimestamp" not in pod["metadata"]


def until(condition: Callable[[], object], what: str, limit: float = 60) -> None:
    end = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < end, f"waited {limit:g} s in vain for {what}"
        time.sleep(0.5)  # the pace of asking


def test_a_bad_configuration_is_refused_at_kubectl_apply_with_all_mistakes(
    cluster: Cluster, namespace: str
) -> None:
    def refused(text: str) -> str:
        with pytest.raises(CommandFailedError) as failure:
            cluster.apply(text, namespace)
        return str(failure.value)

    # The webhook lets through what it cannot look at: first it must be reached.
    bad = CONFIG.replace("schema: 1", "schema: 2").replace("action: deny", "action: denied")
    until(lambda: _fails(lambda: cluster.apply(bad, namespace)), "the webhook's caBundle")
    said = refused(bad)
    assert "a sidecar would not start with this configuration" in said
    assert "config.yaml:1:9: schema: found `2`" in said
    assert "governance.rules[2].action: found `denied`" in said
    policy = refused(CONFIG.replace("principal,", "principle,", 1))
    assert "transfer.cedar:" in policy
    assert "configmap/thoughtgate-config created" in cluster.apply(CONFIG, namespace)
    said = refused(bad)
    assert "governance.rules[2].action" in said
    unlabelled = yaml.safe_load(bad)
    unlabelled["metadata"] = {"name": "another"}
    cluster.apply(unlabelled, namespace)


def _fails(action: Callable[[], object]) -> bool:
    try:
        action()
    except CommandFailedError:
        return True
    return False


def test_the_glass_is_broken_and_mended_and_the_watchdog_finds_what_came_in_between(
    cluster: Cluster, namespace: str
) -> None:
    cluster.kubectl(*BREAK.split())
    try:
        until(
            lambda: not _fails(lambda: cluster.apply(agent("between"), namespace)),
            "the API server to let a pod through",
        )
        cluster.apply(deployment("owned"), namespace)
        old = agent("old", **{"thoughtgate.io/status": '{"image":"x","version":"0.0.9"}'})
        old["spec"]["containers"].append({"name": "thoughtgate", "image": "old:v0"})
        cluster.apply(old, namespace)
        assert sidecars(cluster, namespace, "app=my-agent") == [False] * 3

        until(lambda: "SidecarMissing" in _events(cluster, namespace, "between"), "an event")
        until(lambda: "SidecarOutdated" in _events(cluster, namespace, "old"), "an event")
        until(
            lambda: f'pods{{pod_namespace="{namespace}",state="missing"}} 2.0' in _metrics(cluster),
            "the metric",
        )
        until(lambda: "webhook_in_place 0.0" in _metrics(cluster), "the metric of the glass")
        listed = _outdated(cluster)
        assert f"kubectl -n {namespace} rollout restart deployment/owned  # 1 pod missing" in listed
        assert f"# {namespace} Pod/old: make it anew by hand; 1 pod outdated" in listed
        within = cluster.kubectl(
            "exec", "-n", NAMESPACE, "deploy/thoughtgate-watchdog", "--",
            "thoughtgate-injector", "outdated",
        )  # fmt: skip
        assert within == listed
    finally:
        # The operator's overlay lets the watchdog evict; the next module's has nothing of it.
        install(cluster, "evict", arguments=["--eviction-interval=1"])
    # From the first pod after that on none is refused for the webhook's certificate for long.
    until(lambda: not _fails(lambda: cluster.apply(agent("after"), namespace)), "the caBundle", 15)
    after = cluster.json("get", "pod", "after", "-n", namespace)
    assert [each["name"] for each in after["spec"]["initContainers"]] == ["thoughtgate"]


def test_the_watchdog_then_evicts_where_it_is_told_to(cluster: Cluster, namespace: str) -> None:
    until(
        lambda: sidecars(cluster, namespace, "pod-template-hash") == [True],
        "the eviction of the one pod that has a controller",
    )
    assert sidecars(cluster, namespace, "app=my-agent").count(False) == 2


def _events(cluster: Cluster, namespace: str, pod: str) -> str:
    selector = f"involvedObject.name={pod}"
    return cluster.kubectl("get", "events", "-n", namespace, "--field-selector", selector)


def _metrics(cluster: Cluster) -> str:
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{_watchdog(cluster)}:8081/proxy/metrics"
    return cluster.kubectl("get", "--raw", path)


def _watchdog(cluster: Cluster) -> str:
    selector = "app.kubernetes.io/name=thoughtgate-watchdog"
    pods = cluster.json("get", "pods", "-n", NAMESPACE, "-l", selector)["items"]
    return next(str(pod["metadata"]["name"]) for pod in pods if _stays(pod))


def _outdated(cluster: Cluster) -> str:
    return subprocess.run(
        [sys.executable, "-m", "thoughtgate_injector.cli", "outdated"],
        env={**os.environ, "KUBECONFIG": str(cluster.kubeconfig)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
