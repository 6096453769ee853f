"""Whatever pod the API server takes, it takes with the sidecar too, and nothing else is changed."""

import copy
import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.cluster import binaries
from tests.cluster.cluster import Cluster
from tests.cluster.install import install
from tests.injector import generated

Pod = dict[str, Any]
DENIED = "admission webhook "


class Creator:
    """Creates pods of which the API server keeps none, over one connection."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        address = urlsplit(cluster.api_server).netloc
        self._connection = http.client.HTTPSConnection(address, timeout=30, context=cluster.tls())
        self._namespace = namespace
        self.taken, self.refused = 0, 0

    def create(self, pod: Pod, kind: str = "api/v1", resource: str = "pods") -> tuple[int, Pod]:
        """The status, and the object, or the refusal."""
        path = f"/{kind}/namespaces/{self._namespace}/{resource}?dryRun=All"
        body = json.dumps(pod).encode()
        self._connection.request("POST", path, body, {"Content-Type": "application/json"})
        reply = self._connection.getresponse()
        return reply.status, json.loads(reply.read())

    def close(self) -> None:
        self._connection.close()


@pytest.fixture(scope="module")
def creator(cluster: Cluster) -> Iterator[Creator]:
    install(cluster)
    with cluster.namespace("any") as name:
        one = Creator(cluster, name)
        yield one
        one.close()
        print(f"{one.taken} pods with a sidecar taken, {one.refused} refused by us in words")


@pytest.fixture(scope="module")
def limited(cluster: Cluster) -> Iterator[Creator]:
    """A namespace in which every container gets limits that it does not name."""
    default = {"cpu": "100m", "memory": "64Mi"}
    limits = {"type": "Container", "default": default, "defaultRequest": default}
    with cluster.namespace("limited") as name:
        cluster.apply(
            {
                "apiVersion": "v1",
                "kind": "LimitRange",
                "metadata": {"name": "limits"},
                "spec": {"limits": [limits, {"type": "Pod", "max": {"cpu": "40"}}]},
            },
            name,
        )
        one = Creator(cluster, name)
        yield one
        one.close()


def opted(pod: Pod, word: str) -> Pod:
    other = copy.deepcopy(pod)
    other["metadata"]["annotations"]["thoughtgate.io/inject"] = word
    return other


def comparable(pod: Pod) -> Pod:
    """A created pod without what is another's in every pod, and without what is ours."""
    rest = generated.without_ours(pod)
    for key in ("name", "uid", "creationTimestamp", "managedFields"):
        rest["metadata"].pop(key, None)
    rest["metadata"]["annotations"].pop("thoughtgate.io/inject")
    for volume in rest["spec"]["volumes"]:
        if volume["name"].startswith("kube-api-access-"):
            volume["name"] = "kube-api-access"
    for group in ("containers", "initContainers"):
        for container in rest["spec"][group]:
            for mount in container.get("volumeMounts", ()):
                if mount["name"].startswith("kube-api-access-"):
                    mount["name"] = "kube-api-access"
    # A sidecar asks for something, so a pod that asked for nothing does now.
    rest["status"] = rest["status"]["qosClass"] == "Guaranteed"
    return rest


def check(creator: Creator, pod: Pod) -> Pod | None:
    """The pod with its sidecar; None where the API server would not take it even without."""
    if binaries.KUBERNETES < "1.34":
        pod["spec"].pop("resources", None)  # off by default until then
    status, without = creator.create(opted(pod, "false"))
    if status != 201:
        return None
    status, injected = creator.create(opted(pod, "true"))
    if status != 201:
        words = injected["message"]
        assert words.startswith(DENIED), words
        assert "denied the request: " in words, words
        assert status == 403, words
        creator.refused += 1
        return None
    creator.taken += 1
    sidecar = injected["spec"]["initContainers"][0]
    assert (sidecar["name"], sidecar["restartPolicy"]) == ("thoughtgate", "Always")
    assert comparable(injected) == comparable(without)
    again = {key: injected[key] for key in ("apiVersion", "kind", "spec")}
    again["metadata"] = {key: injected["metadata"].get(key) for key in ("annotations", "labels")}
    again["metadata"]["name"] = "again"
    status, twice = creator.create(again)
    assert status == 201, twice
    assert twice["spec"]["initContainers"] == injected["spec"]["initContainers"]
    return injected


@settings(
    max_examples=120, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow],
)  # fmt: skip
@given(pod=generated.pods())
def test_a_generated_pod_is_taken_with_its_sidecar_or_refused_by_us_in_words(
    creator: Creator, pod: Pod
) -> None:
    check(creator, pod)


@pytest.mark.long
@settings(max_examples=1500, database=None)
@given(pod=generated.pods())
def test_many_generated_pods_are(creator: Creator, pod: Pod) -> None:
    check(creator, pod)


@settings(max_examples=25, derandomize=True, database=None)
@given(pod=generated.pods())
def test_a_generated_pod_is_in_a_namespace_with_limits(limited: Creator, pod: Pod) -> None:
    check(limited, pod)


def test_most_of_the_generated_are_taken(creator: Creator) -> None:
    assert creator.taken > 50
    assert creator.refused < creator.taken


def test_a_pod_that_limits_make_guaranteed_stays_it(limited: Creator) -> None:
    injected = check(limited, minimal())
    assert injected is not None
    assert injected["status"]["qosClass"] == "Guaranteed"


def test_a_limit_that_the_sidecar_does_not_fit_into_is_named(limited: Creator) -> None:
    pod = opted(minimal(), "true")
    pod["spec"]["containers"][0]["resources"] = {"limits": {"cpu": "39900m"}}
    status, refusal = limited.create(pod)
    assert status == 403
    assert "maximum cpu usage per Pod is 40, but limit is 40100m" in refusal["message"]


@pytest.mark.parametrize("size", [2**16, 2**20, 1_400_000])
def test_a_large_pod_is_taken(creator: Creator, size: int) -> None:
    pod = minimal()
    lines = [{"name": f"V{number}", "value": "x" * 1000} for number in range(size // 1000)]
    pod["spec"]["containers"][0]["env"] = lines
    assert check(creator, pod) is not None


def test_the_largest_annotations_leave_room_for_ours_or_the_refusal_names_them(
    creator: Creator,
) -> None:
    pod = minimal()
    pod["metadata"]["annotations"]["x"] = "x" * (256 * 1024 - 2000)
    assert check(creator, pod) is not None
    pod["metadata"]["annotations"]["x"] += "x" * 1900
    assert creator.create(opted(pod, "false"))[0] == 201
    status, refusal = creator.create(opted(pod, "true"))
    assert status in {403, 422}
    assert "metadata.annotations" in refusal["message"]


TEMPLATES: dict[str, tuple[str, str, Pod]] = {
    "Deployment": ("apis/apps/v1", "deployments", {"selector": {"matchLabels": {"app": "a"}}}),
    "ReplicaSet": ("apis/apps/v1", "replicasets", {"selector": {"matchLabels": {"app": "a"}}}),
    "StatefulSet": (
        "apis/apps/v1",
        "statefulsets",
        {"selector": {"matchLabels": {"app": "a"}}, "serviceName": "a"},
    ),
    "DaemonSet": ("apis/apps/v1", "daemonsets", {"selector": {"matchLabels": {"app": "a"}}}),
    "ReplicationController": ("api/v1", "replicationcontrollers", {"selector": {"app": "a"}}),
    "Job": ("apis/batch/v1", "jobs", {}),
}


@pytest.mark.parametrize("kind", TEMPLATES)
@settings(max_examples=8, derandomize=True, database=None)
@given(data=st.data())
def test_the_pod_of_a_workloads_template_is(
    creator: Creator, kind: str, data: st.DataObject
) -> None:
    """The template as the API server has defaulted it, as the kind's controller would use it."""
    group, resource, spec = TEMPLATES[kind]
    pod = data.draw(generated.pods(**{"thoughtgate.io/inject": "false"}))
    pod["metadata"]["labels"] = {"app": "a"}
    pod["metadata"].pop("generateName")
    pod["spec"]["restartPolicy"] = "Never" if kind == "Job" else "Always"
    template = {key: pod[key] for key in ("metadata", "spec")}
    workload = {
        "apiVersion": group.removeprefix("apis/").removeprefix("api/"),
        "kind": kind,
        "metadata": {"name": "a"},
        "spec": {**spec, "template": template},
    }
    status, created = creator.create(workload, group, resource)
    if status != 201:
        return
    made = {"apiVersion": "v1", "kind": "Pod", **created["spec"]["template"]}
    made["metadata"].pop("creationTimestamp", None)
    made["metadata"]["generateName"] = "a-"
    check(creator, made)


def minimal() -> Pod:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "a-", "annotations": {}},
        "spec": {"containers": [{"name": "a", "image": "x"}]},
    }
