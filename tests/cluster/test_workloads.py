"""Pods that end, pods that prepare, and pods that another webhook changes too, on a real node."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster import mesh
from tests.cluster.cluster import Cluster
from tests.cluster.test_main_job import namespace as namespace  # noqa: PLC0414 - a fixture

INJECT = {"thoughtgate.io/inject": "true"}
LABELS = {"app": "worker", "team": "tests"}
CALL = ["python", "/agent.py", json.dumps([["get_user", {"user_id": 7}]])]
ANSWER = {"tool": "get_user", "is_error": False, "text": "user 7: Ada"}


def container(name: str, image: str, command: list[str]) -> dict[str, Any]:
    return {"name": name, "image": image, "imagePullPolicy": "Never", "command": command}


def template(image: str, *init: dict[str, Any], **spec: object) -> dict[str, Any]:
    """A pod that calls once and ends."""
    return {
        "metadata": {"labels": LABELS, "annotations": INJECT},
        "spec": {
            "restartPolicy": "Never",
            "initContainers": list(init),
            "containers": [container("worker", image, CALL)],
            **spec,
        },
    }


def answers(log: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.splitlines() if line.startswith('{"tool"')]


@pytest.fixture(scope="module")
def ended(cluster: Cluster, namespace: str, mcp_image: str) -> Iterator[dict[str, str]]:
    """A Job, a CronJob's Job, and a pod whose first container prepares, all started together."""
    job = {"template": template(mcp_image), "backoffLimit": 0}
    prepares = template(mcp_image, container("prepare", mcp_image, CALL))
    items: list[dict[str, Any]] = [
        {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job"}, "spec": job},
        {
            "apiVersion": "batch/v1",
            "kind": "CronJob",
            "metadata": {"name": "cron"},
            "spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": job}},
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "prepared", **prepares["metadata"]},
            "spec": prepares["spec"],
        },
    ]
    cluster.apply({"apiVersion": "v1", "kind": "List", "items": items}, namespace)
    cluster.kubectl("create", "job", "by-cron", "--from=cronjob/cron", "-n", namespace)
    for name in ("job", "by-cron"):
        cluster.wait("condition=Complete", f"job/{name}", namespace)
    cluster.wait("jsonpath={.status.phase}=Succeeded", "pod/prepared", namespace)
    yield {"job": "job/job", "by-cron": "job/by-cron", "prepared": "pod/prepared"}
    cluster.kubectl("delete", "job", "job", "by-cron", "-n", namespace, "--wait=false")


@pytest.mark.parametrize("name", ["job", "by-cron", "prepared"])
def test_a_pod_that_ends_completes_and_its_log_is_its_own(
    cluster: Cluster, namespace: str, ended: dict[str, str], name: str
) -> None:
    """`kubectl logs` without `-c`: the agent's, though the sidecar stands first."""
    assert answers(cluster.kubectl("logs", ended[name], "-n", namespace)) == [ANSWER]


def test_an_init_container_calls_through_the_sidecar(
    cluster: Cluster, namespace: str, ended: dict[str, str]
) -> None:
    assert answers(cluster.logs("prepared", namespace, "prepare")) == [ANSWER]
    found = cluster.json("get", ended["prepared"], "-n", namespace)
    order = [each["name"] for each in found["spec"]["initContainers"]]
    assert order == ["thoughtgate", "prepare"]
    lines = cluster.logs("prepared", namespace, "thoughtgate").splitlines()
    decided = [line for line in map(json.loads, lines) if line["message"] == "decision"]
    assert len(decided) == 2


def test_exec_lands_in_the_agent(cluster: Cluster, namespace: str, mcp_image: str) -> None:
    waits = template(mcp_image)
    waits["spec"]["containers"] = [container("worker", mcp_image, ["sleep", "infinity"])]
    waits["spec"]["terminationGracePeriodSeconds"] = 0
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "waits", **waits["metadata"]}}
    cluster.apply({**pod, "spec": waits["spec"]}, namespace)
    cluster.wait_ready("waits", namespace)
    said = cluster.exec("waits", "cat", "/proc/1/cmdline", namespace=namespace)
    assert said.startswith("sleep")


def test_a_pod_that_no_other_webhook_changes_is_reviewed_once(
    cluster: Cluster, namespace: str, mcp_image: str
) -> None:
    before = mesh.reviews_of_ours(cluster)
    pod = {"apiVersion": "v1", "kind": "Pod", **template(mcp_image)}
    pod["metadata"]["name"] = "once"
    cluster.kubectl("create", "--dry-run=server", "-n", namespace, "-f", "-", stdin=json.dumps(pod))
    assert mesh.reviews_of_ours(cluster) - before == {"injected": 1}


@pytest.mark.long
def test_another_webhook_that_puts_its_sidecar_first_is_met_with_the_same_result(
    cluster: Cluster, namespace: str, mcp_image: str
) -> None:
    """Before ours in the API server's order, and after it, when ours is asked again."""
    found, outcomes = {}, {}
    with mesh.running(cluster, mcp_image) as other:
        for name in ("a-mesh", "z-mesh"):
            before = mesh.reviews_of_ours(cluster)
            with other.configured(name):
                cluster.apply(meshed(name, mcp_image), namespace)
            outcomes[name] = mesh.reviews_of_ours(cluster) - before
    for name in outcomes:
        cluster.wait_ready(name, namespace)
        found[name] = cluster.json("get", "pod", name, "-n", namespace)["spec"]
        assert answers(cluster.logs(name, namespace, "prepare")) == [ANSWER]
    order = {
        name: [each["name"] for each in spec["initContainers"]] for name, spec in found.items()
    }
    assert order == {
        "a-mesh": ["thoughtgate", "mesh-proxy", "prepare"],
        "z-mesh": ["mesh-proxy", "thoughtgate", "prepare"],
    }
    # A second review, after the mesh's own change or that of the plugin that gives its container
    # the pod's token; it changes nothing.
    assert outcomes == {key: {"injected": 1, "unchanged": 1} for key in outcomes}
    for spec in found.values():
        for each in spec["initContainers"] + spec["containers"]:
            names = [variable["name"] for variable in each.get("env", ())]
            assert len(names) == len(set(names))
        volumes = [volume["name"] for volume in spec["volumes"]]
        assert volumes.count("thoughtgate-config") == 1


def meshed(name: str, image: str) -> dict[str, Any]:
    """A pod that calls while it prepares, and that both webhooks change."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": LABELS,
            "annotations": {**INJECT, "mesh.example.com/inject": name},
        },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "initContainers": [container("prepare", image, CALL)],
            "containers": [container("worker", image, ["sleep", "infinity"])],
        },
    }
