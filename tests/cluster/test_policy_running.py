"""The policies against changes of a pod that has the sidecar, on a real API server."""

import copy
import os
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster import beside
from tests.cluster.cluster import Cluster
from tests.cluster.rest import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, Rest
from tests.injector.core.test_sidecar_diff import injected, ours

Pod = dict[str, Any]
POD = "running"
NAMESPACE = "free"
LABELS = {"app": "my-agent", "app.kubernetes.io/name": "x", "other": "o"}


@pytest.fixture(scope="module")
def rest(api_server: Cluster) -> Iterator[Rest]:
    """Three pods: ours, ours with no label at all, and one that was never opted in."""
    beside.policies(api_server, {})
    beside.namespaces(api_server)
    rest = Rest(api_server)
    bare = injected()
    bare["metadata"]["name"] = "bare"
    bystander = handwritten()
    for pod in (running(), bare, bystander):
        assert rest.create(pod, NAMESPACE, dry_run=False).refused is None
    yield rest
    for pod in (running(), bare, bystander):
        rest.send("DELETE", path(pod["metadata"]["name"]))
    rest.close()


def running() -> Pod:
    pod = injected()
    pod["metadata"] |= {"name": POD, "labels": dict(LABELS)}
    return pod


def handwritten() -> Pod:
    """The reference document's own sidecar, in a pod that does not ask for ours."""
    agent, sidecar = ({"name": name, "image": "a"} for name in ("agent", "thoughtgate"))
    metadata = {"name": "handwritten", "labels": dict(LABELS)}
    return {"metadata": metadata, "spec": {"containers": [agent, sidecar]}}


def said(cluster: Cluster, *words: str) -> str:
    """What kubectl says, warnings included, whether it fails or not."""
    env = {"KUBECONFIG": str(cluster.kubeconfig)}
    done = subprocess.run(
        [cluster.programs / "kubectl", *words],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout + done.stderr


def path(pod: str) -> str:
    return f"/api/v1/namespaces/{NAMESPACE}/pods/{pod}"


def label(key: str, value: str | None) -> Pod:
    return {"metadata": {"labels": {key: value}}}


def annotation(key: str, value: str | None) -> Pod:
    return {"metadata": {"annotations": {key: value}}}


IDENTITY = "are its identity and cannot be changed"
KEYS = "labels and annotations `thoughtgate.io/` of a pod with the sidecar cannot be changed"
SIDECAR = "the container `thoughtgate` of a pod cannot be changed"
CHANGES: dict[str, tuple[Pod, str]] = {
    "another app": (label("app", "admin"), IDENTITY),
    "no app": (label("app", None), IDENTITY),
    "another name": (label("app.kubernetes.io/name", "admin"), IDENTITY),
    "a team": (label("team", "data-engineering"), IDENTITY),
    "an empty team": (label("team", ""), IDENTITY),
    "no opt-in": (annotation("thoughtgate.io/inject", None), KEYS),
    "opt-out": (annotation("thoughtgate.io/inject", "false"), KEYS),
    "opt-out by label": (label("thoughtgate.io/inject", "false"), KEYS),
    "another profile": (annotation("thoughtgate.io/profile", "light"), KEYS),
    "another status": (annotation("thoughtgate.io/status", "{}"), KEYS),
    "no status": (annotation("thoughtgate.io/status", None), KEYS),
    "a new word of ours": (annotation("thoughtgate.io/anything", "x"), KEYS),
}


@pytest.mark.parametrize("sub", ["", "status"])
@pytest.mark.parametrize("change", CHANGES)
def test_identity_and_opt_in_are_frozen(rest: Rest, change: str, sub: str) -> None:
    body, reason = CHANGES[change]
    assert reason in str(rest.patch(POD, NAMESPACE, body, sub).refused)


def test_a_pod_without_labels_gets_none(rest: Rest) -> None:
    assert IDENTITY in str(rest.patch("bare", NAMESPACE, label("app", "admin")).refused)


def test_the_annotation_first_and_then_the_label_is_no_way_round(rest: Rest) -> None:
    """Each step is refused by itself, whatever became of the other."""
    both = annotation("thoughtgate.io/inject", None)
    both["metadata"] |= label("app", "admin")["metadata"]
    assert rest.patch(POD, NAMESPACE, both).refused is not None
    assert KEYS in str(rest.patch(POD, NAMESPACE, CHANGES["no opt-in"][0]).refused)
    assert IDENTITY in str(rest.patch(POD, NAMESPACE, CHANGES["another app"][0]).refused)


def image_of(group: str, image: str) -> list[Pod]:
    return [{"op": "replace", "path": f"/spec/{group}/0/image", "value": image}]


@pytest.mark.parametrize("image", ["evil", "ghcr.io/thoughtgate/thoughtgate-proxy:v0.0.1"])
def test_the_sidecars_image_is_frozen(rest: Rest, image: str) -> None:
    reply = rest.patch(POD, NAMESPACE, image_of("initContainers", image), kind=JSON_PATCH)
    assert SIDECAR in str(reply.refused)


@pytest.mark.parametrize("method", ["PUT", "server-side apply"])
def test_no_verb_is_a_way_round(rest: Rest, method: str) -> None:
    pod = rest.send("GET", path(POD)).object
    pod["metadata"]["labels"]["app"] = "admin"
    if method == "PUT":
        reply = rest.send("PUT", f"{path(POD)}?dryRun=All", pod)
    else:
        metadata = {"name": POD, "labels": {"app": "admin"}}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
        reply = rest.patch(POD, NAMESPACE, body, kind=APPLY_PATCH)
    assert IDENTITY in str(reply.refused)


def test_the_sidecar_is_not_resized(rest: Rest) -> None:
    resources = {"requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"cpu": "1m"}}
    found = rest.send("GET", path(POD)).object
    ours(found)["resources"]["requests"]["cpu"] = "1m"
    for body in (
        {"spec": {"initContainers": [{"name": "thoughtgate", "resources": resources}]}},
        {"spec": {"initContainers": found["spec"]["initContainers"]}},
    ):
        reply = rest.patch(
            POD, NAMESPACE, body, "resize", kind="application/strategic-merge-patch+json"
        )
        assert SIDECAR in str(reply.refused)


def debugger(**more: object) -> Pod:
    return {"spec": {"ephemeralContainers": [{"name": "debugger", "image": "busybox", **more}]}}


EPHEMERAL: dict[str, Pod] = {
    "in its processes": debugger(targetContainerName="thoughtgate"),
    "with its secrets": debugger(
        volumeMounts=[{"name": "thoughtgate-secrets", "mountPath": "/mnt"}]
    ),
    "with its state": debugger(volumeMounts=[{"name": "thoughtgate-state", "mountPath": "/mnt"}]),
    "with its labels": debugger(
        volumeMounts=[{"name": "thoughtgate-podinfo", "mountPath": "/mnt", "readOnly": True}]
    ),
}


@pytest.mark.parametrize("container", EPHEMERAL)
def test_nobody_debugs_their_way_into_it(rest: Rest, container: str) -> None:
    reply = rest.patch(POD, NAMESPACE, EPHEMERAL[container], "ephemeralcontainers")
    assert "an ephemeral container may neither" in str(reply.refused)


@pytest.mark.parametrize("verb", ["exec", "attach"])
def test_nobody_goes_into_it(rest: Rest, verb: str) -> None:
    query = "command=sh&stdout=true" if verb == "exec" else "stdout=true"
    into = f"{path(POD)}/{verb}?{query}"
    for address in (f"{into}&container=thoughtgate", f"{into}&container=thoughtgate&stdin=true"):
        for method in ("GET", "POST"):
            reply = rest.send(method, address)
            assert "nobody goes into the container `thoughtgate`" in str(reply.refused)
    # The API server chooses the pod's only container, which is the agent's; here it has no node.
    for address in (into, f"{into}&container=agent"):
        assert "does not have a host assigned" in str(rest.send("GET", address).refused)


ALLOWED: dict[str, Callable[[Rest], object]] = {
    "another label": lambda r: r.patch(POD, NAMESPACE, label("other", "p")).object,
    "the same label again": lambda r: r.patch(POD, NAMESPACE, label("app", "my-agent")).object,
    "another annotation": lambda r: r.patch(POD, NAMESPACE, annotation("other", "p")).object,
    "a toleration": lambda r: (
        r.patch(
            POD,
            NAMESPACE,
            [{"op": "add", "path": "/spec/tolerations/-", "value": {"operator": "Exists"}}],
            kind=JSON_PATCH,
        ).object
    ),
    "the agent's image": lambda r: (
        r.patch(POD, NAMESPACE, image_of("containers", "agent:v2"), kind=JSON_PATCH).object
    ),
    "a debugger": lambda r: r.patch(POD, NAMESPACE, debugger(), "ephemeralcontainers").object,
    "a debugger of the agent": lambda r: (
        r.patch(POD, NAMESPACE, debugger(targetContainerName="agent"), "ephemeralcontainers").object
    ),
    "the kubelet's status": lambda r: (
        r.patch(POD, NAMESPACE, {"status": {"phase": "Running"}}, "status").object
    ),
    "its end": lambda r: r.send("DELETE", f"{path(POD)}?dryRun=All").object,
}


@pytest.mark.parametrize("change", ALLOWED)
def test_whatever_else_happens_to_a_pod_is_let_through(rest: Rest, change: str) -> None:
    ALLOWED[change](rest)


def test_a_pod_that_is_not_ours_is_left_alone(rest: Rest) -> None:
    """Not even one with a container of our name: it has none of our mounts."""
    for body in (label("app", "other"), annotation("thoughtgate.io/inject", "false")):
        assert rest.patch("handwritten", NAMESPACE, body).refused is None
    changed = [
        {"op": "replace", "path": f"/spec/containers/{index}/image", "value": "other"}
        for index in (0, 1)
    ]
    assert rest.patch("handwritten", NAMESPACE, changed, kind=JSON_PATCH).refused is None


def test_what_is_created_anew_is_judged_anew(rest: Rest) -> None:
    pod = copy.deepcopy(rest.send("GET", path("bare")).object)
    rest.send("DELETE", f"{path('bare')}?gracePeriodSeconds=0")
    pod["metadata"] = {key: pod["metadata"][key] for key in ("name", "annotations")}
    for key in ("status", "kind"):
        del pod[key]
    ours(pod)["image"] = "evil"
    assert "has the image `evil`" in str(rest.create(pod, NAMESPACE, dry_run=False).refused)
    ours(pod)["image"] = ours(injected())["image"]
    assert rest.create(pod, NAMESPACE, dry_run=False).refused is None


def test_a_copy_for_debugging_is_judged_where_it_asks_for_the_sidecar(
    api_server: Cluster, rest: Rest
) -> None:
    """`kubectl debug --copy-to` leaves the words behind, but in its old profile `legacy`."""
    copied = ("debug", f"pod/{POD}", "-n", NAMESPACE, "--copy-to=copy", "--attach=false")
    kept = (*copied, "--keep-annotations=true")
    shared = said(api_server, *kept, "--image=busybox", "--share-processes=true")
    assert "`shareProcessNamespace` is `true`" in shared
    dropped = said(api_server, *copied, "--image=busybox", "--profile=general")
    assert "nobody checks that this sidecar is the real one" in dropped
    rest.send("DELETE", f"{path('copy')}?gracePeriodSeconds=0")


@pytest.mark.parametrize(
    ("labels", "annotations", "reason"),
    [
        ({"thoughtgate.io/inject": "enable"}, {}, "is `enable`; allowed: `enabled`, `true`"),
        ({"thoughtgate.io/inject": "false"}, {}, "is `false`; allowed"),
        ({"thoughtgate.io/injcet": "enabled"}, {}, "unknown label `thoughtgate.io/injcet`"),
        ({}, {"thoughtgate.io/inject": "enabled"}, "does nothing on a namespace"),
        ({"thoughtgate.io/inject": "required"}, {}, None),
        ({"thoughtgate.io/inject": "enabled"}, {}, None),
        ({"thoughtgate.io/inject": "true", "other": "x"}, {"other": "y"}, None),
        ({}, {}, None),
    ],
)
@pytest.mark.parametrize("new", [True, False])
def test_a_misspelt_opt_in_of_a_namespace_is_refused(
    rest: Rest, labels: Pod, annotations: Pod, reason: str | None, new: bool
) -> None:
    metadata = {"labels": labels, "annotations": annotations}
    if new:
        body = {"metadata": {**metadata, "name": "new"}}
        reply = rest.send("POST", "/api/v1/namespaces?dryRun=All", body)
    else:
        address = "/api/v1/namespaces/default?dryRun=All"
        reply = rest.send("PATCH", address, {"metadata": metadata}, MERGE_PATCH)
    assert (reply.refused is None) == (reason is None)
    assert (reason or "") in str(reply.refused)
