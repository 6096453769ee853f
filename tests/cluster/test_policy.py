"""The policies against new pods, on a real API server: try to get past them.

There is no webhook here, so that what the injector would refuse has to be refused by the policy.
"""

import copy
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.cluster import beside
from tests.cluster.cluster import Cluster
from tests.cluster.rest import Rest
from tests.injector import golden
from tests.injector.core.test_sidecar_diff import DECOYS, OTHERS, injected, ours, volume
from thoughtgate_injector.core import names
from thoughtgate_injector.core.verdict import Entry

Pod = dict[str, Any]
OLD = "old.example/proxy:v0.0.9"
# What the golden pods with open settings have.
ALL = {
    "options.allowed": "config image native-sidecar",
    "sidecar.env": "NO_PROXY=.svc\nHTTPS_PROXY=http://p\n",
    "sidecar.images": f"{names.SIDECAR_IMAGE}\n{OLD}",
}
NAMESPACES = {Entry.POD: "free", Entry.NAMESPACE: "enabled", Entry.REQUIRED: "required"}
WORDS = (None, "true", "false", "flase")


@pytest.fixture(scope="module")
def rest(api_server: Cluster) -> Iterator[Rest]:
    beside.policies(api_server, ALL)
    beside.namespaces(api_server)
    rest = Rest(api_server)
    yield rest
    rest.close()


@pytest.mark.parametrize("case", golden.injected(), ids=lambda case: case.name)
def test_everything_that_the_injector_makes_is_let_through(rest: Rest, case: golden.Case) -> None:
    assert rest.create(case.patched(), NAMESPACES[case.entry]).refused is None


@pytest.mark.parametrize("case", golden.injected(), ids=lambda case: case.name)
def test_without_the_sidecar_none_of_them_is(rest: Rest, case: golden.Case) -> None:
    refused = rest.create(case.pod, NAMESPACES[case.entry]).refused
    assert refused is not None
    assert "the pod asks for the sidecar and has none" in refused


@pytest.mark.parametrize("change", OTHERS)
def test_what_other_webhooks_do_is_let_through(rest: Rest, change: str) -> None:
    pod = injected()
    OTHERS[change](pod)
    for container in (one for key in ("containers", "initContainers") for one in pod["spec"][key]):
        for mount in container.get("volumeMounts", []):
            if mount["name"] == "token":
                pod["spec"]["volumes"].append({"name": "token", "emptyDir": {}})
    assert rest.create(pod, "free").refused is None


def agent(pod: Pod) -> Pod:
    found: Pod = pod["spec"]["containers"][0]
    return found


def mount(name: str, **more: object) -> Pod:
    return {"name": name, "mountPath": "/mnt", **more}


# Beside those that the injector knows as decoys.
MORE: dict[str, Callable[[Pod], object]] = {
    "another repository": lambda p: ours(p).update(image="evil.example/proxy:v0.1.0"),
    "an image like ours": lambda p: ours(p).update(image=ours(p)["image"] + "-evil"),
    "environment from a config map": lambda p: ours(p).update(
        envFrom=[{"configMapRef": {"name": "x", "optional": True}}]
    ),
    "all privileges": lambda p: ours(p)["securityContext"].update(
        privileged=True, allowPrivilegeEscalation=True
    ),
    "a hook at its start": lambda p: ours(p).update(
        lifecycle={"postStart": {"exec": {"command": ["sh"]}}}
    ),
    "a volume of the agent's": lambda p: (
        p["spec"]["volumes"].append({"name": "x", "emptyDir": {}}),
        ours(p)["volumeMounts"].append(mount("x")),
    ),
    "less than its options say": lambda p: ours(p).update(
        resources={
            "requests": {"cpu": "50m", "memory": "1Mi"},
            "limits": {"cpu": "200m", "memory": "1Mi"},
        }
    ),
    "an init container that ends": lambda p: [
        ours(p).pop(key)
        for key in ("restartPolicy", "startupProbe", "livenessProbe", "readinessProbe")
    ],
    "a working directory": lambda p: ours(p).update(workingDir="/tmp"),
    "a terminal": lambda p: ours(p).update(tty=True, stdin=True),
    "a hook at its end": lambda p: ours(p).update(
        lifecycle={"preStop": {"exec": {"command": ["sh"]}}}
    ),
    "a resize policy": lambda p: ours(p).update(
        resizePolicy=[{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]
    ),
    "an end without words": lambda p: ours(p).update(terminationMessagePolicy="File"),
    "a port of a Service": lambda p: ours(p)["env"][4].update(value="tcp://10.0.0.1:80"),
    "its log on the agent's volume": lambda p: ours(p).update(terminationMessagePath="/x"),
    "nothing to run on": lambda p: ours(p).update(
        resources={"requests": {"cpu": "0"}, "limits": {"cpu": "0"}}
    ),
    "requests of nothing": lambda p: ours(p)["resources"].update(
        requests={"cpu": "0", "memory": "0"}
    ),
    "no resources": lambda p: ours(p).pop("resources"),
    "options for nothing": lambda p: (
        p["metadata"]["annotations"].update(
            {"thoughtgate.io/cpu-limit": "0", "thoughtgate.io/cpu-request": "0"}
        ),
        ours(p)["resources"]["limits"].update(cpu="0"),
        ours(p)["resources"]["requests"].update(cpu="0"),
    ),
    "a proxy of the attacker's": lambda p: ours(p)["env"].append(
        {"name": "HTTPS_PROXY", "value": "http://evil"}
    ),
    "a proxy from a config map": lambda p: ours(p)["env"].append(
        {
            "name": "HTTPS_PROXY",
            "valueFrom": {"configMapKeyRef": {"name": "x", "key": "y", "optional": True}},
        }
    ),
    "a slack of the attacker's": lambda p: ours(p)["env"].append(
        {"name": "THOUGHTGATE_SLACK_API_URL", "value": "http://evil"}
    ),
    "a log level without its option": lambda p: ours(p)["env"].append(
        {"name": "THOUGHTGATE_LOG_LEVEL", "value": "debug"}
    ),
    "another token": lambda p: ours(p)["env"][5]["valueFrom"]["secretKeyRef"].update(name="x"),
    "one port less": lambda p: ours(p)["ports"].pop(),
    "ports of other names": lambda p: ours(p)["ports"][0].update(name="mcp"),
    "no probe": lambda p: ours(p).pop("readinessProbe"),
    "a probe by command": lambda p: ours(p).update(
        readinessProbe={"exec": {"command": ["true"]}, "periodSeconds": 5, "timeoutSeconds": 5}
    ),
    "a slow probe": lambda p: ours(p)["readinessProbe"].update(periodSeconds=600),
    "an unconfined profile": lambda p: ours(p)["securityContext"].update(
        seccompProfile={"type": "Unconfined"}
    ),
    "a user of windows": lambda p: ours(p)["securityContext"].update(
        windowsOptions={"runAsUserName": "x"}
    ),
    "labels from a projected volume": lambda p: (
        volume(p, "thoughtgate-podinfo").pop("downwardAPI"),
        volume(p, "thoughtgate-podinfo").update(
            projected={"sources": [{"configMap": {"name": "forged"}}]}
        ),
    ),
    "labels from a config map alone": lambda p: (
        volume(p, "thoughtgate-podinfo").pop("downwardAPI"),
        volume(p, "thoughtgate-podinfo").update(configMap={"name": "thoughtgate-podinfo"}),
    ),
    "labels from an annotation": lambda p: volume(p, "thoughtgate-podinfo").update(
        downwardAPI={
            "items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.annotations"}}]
        }
    ),
    "one file of the configuration": lambda p: volume(p, "thoughtgate-config")["configMap"].update(
        items=[{"key": "x", "path": "config.yaml"}]
    ),
    "a state without a limit": lambda p: volume(p, "thoughtgate-state").update(emptyDir={}),
    "mounts in another order": lambda p: ours(p)["volumeMounts"].reverse(),
    "mounts that pass on": lambda p: ours(p)["volumeMounts"][3].update(
        mountPropagation="HostToContainer"
    ),
    "a state that is read only": lambda p: ours(p)["volumeMounts"][3].update(readOnly=True),
    "an agent in its labels": lambda p: agent(p).update(
        volumeMounts=[mount("thoughtgate-podinfo", readOnly=False)]
    ),
    "an agent that reads its secrets": lambda p: agent(p).update(
        volumeMounts=[mount("thoughtgate-secrets", readOnly=True)]
    ),
    "an init container in its state": lambda p: p["spec"]["initContainers"].append(
        {"name": "thief", "image": "x", "volumeMounts": [mount("thoughtgate-state")]}
    ),
    "the node's network": lambda p: p["spec"].update(hostNetwork=True),
    "the node's processes": lambda p: p["spec"].update(hostPID=True),
    "no opt-in by a word more": lambda p: p["metadata"].update(
        labels={"thoughtgate.io/inject": "false"}
    ),
    "a word that is none": lambda p: p["metadata"]["annotations"].update(
        {"thoughtgate.io/inject": "True"}
    ),
    "a log level that is none": lambda p: (
        p["metadata"]["annotations"].update({"thoughtgate.io/log-level": "loud"}),
        ours(p)["env"].append({"name": "THOUGHTGATE_LOG_LEVEL", "value": "loud"}),
    ),
    "an unknown annotation": lambda p: p["metadata"]["annotations"].update(
        {"thoughtgate.io/profil": "heavy"}
    ),
    "an option as a label": lambda p: p["metadata"].update(
        labels={"thoughtgate.io/profile": "heavy"}
    ),
    "a profile that is none": lambda p: p["metadata"]["annotations"].update(
        {"thoughtgate.io/profile": "huge"}
    ),
    "the image of an option that is another": lambda p: p["metadata"]["annotations"].update(
        {"thoughtgate.io/image": "evil.example/proxy"}
    ),
    "plain without the option": lambda p: (
        p["spec"]["containers"].append(ours(p)),
        p["spec"].pop("initContainers"),
        p["spec"]["containers"][-1].pop("restartPolicy"),
    ),
    "the token in place of nothing": lambda p: (
        volume(p, "thoughtgate-notoken").pop("emptyDir"),
        volume(p, "thoughtgate-notoken").update(
            projected={"sources": [{"serviceAccountToken": {"path": "token"}}]}
        ),
    ),
}


# The API server drops a field that it does not know.
@pytest.mark.parametrize("decoy", [*sorted({*DECOYS, *MORE} - {"an unknown field"})])
def test_a_decoy_is_refused(rest: Rest, decoy: str) -> None:
    pod = injected()
    pod["metadata"]["name"] = "decoy"
    (DECOYS | MORE)[decoy](pod)
    refused = rest.create(pod, "free").refused
    assert refused is not None, decoy
    # What is no pod at all needs no policy; MORE has a pod beside each such decoy.
    is_no_pod = "cannot be handled" in refused or " is invalid: " in refused
    assert "ValidatingAdmissionPolicy 'thoughtgate-sidecar'" in refused or is_no_pod, refused
    assert decoy in DECOYS or not is_no_pod, refused


def test_the_real_one_is_let_through_and_an_older_one_too(rest: Rest) -> None:
    pod = injected()
    assert rest.create(pod, "free").refused is None
    ours(pod)["image"] = OLD
    assert rest.create(pod, "free").refused is None


def test_a_pod_may_not_say_no_where_the_namespace_requires_it(rest: Rest) -> None:
    """Not even with the sidecar in it."""
    pod = injected()
    pod["metadata"]["annotations"]["thoughtgate.io/inject"] = "false"
    assert "namespace's label `thoughtgate.io/inject` is" in str(
        rest.create(pod, "required").refused
    )
    assert rest.create(pod, "free").refused is None


def test_a_refusal_names_the_image_and_those_that_are_allowed(rest: Rest) -> None:
    pod = injected()
    ours(pod)["image"] = "evil"
    refused = rest.create(pod, "free").refused
    assert refused is not None
    assert "the container `thoughtgate` has the image `evil`; allowed: those of the" in refused
    assert OLD in refused


def test_a_pod_by_its_front_alone_is_judged(rest: Rest) -> None:
    """As a ReplicaSet creates it: there is no name yet."""
    pod = injected()
    pod["metadata"] = {
        "generateName": "agent-",
        "annotations": pod["metadata"]["annotations"],
        "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "a", "uid": "1"}
        ],
    }
    assert rest.create(pod, "free").refused is None
    ours(pod)["image"] = "evil"
    assert "evil" in str(rest.create(pod, "free").refused)


def test_a_forged_status_stands_in_for_nothing(rest: Rest) -> None:
    pod = injected()
    del pod["spec"]["initContainers"]
    assert "has none" in str(rest.create(pod, "free").refused)


def test_server_side_apply_is_no_way_round(rest: Rest) -> None:
    pod = injected() | {"apiVersion": "v1", "kind": "Pod"}
    pod["metadata"]["name"] = "applied"
    ours(pod)["image"] = "evil"
    reply = rest.patch("applied", "free", pod, kind="application/apply-patch+yaml")
    assert "evil" in str(reply.refused)


@pytest.mark.parametrize(
    "option",
    [
        {"thoughtgate.io/config": "other"},
        {"thoughtgate.io/image": "registry.example/proxy"},
        {"thoughtgate.io/native-sidecar": "false"},
    ],
    ids=lambda option: str(next(iter(option))),
)
def test_a_guarded_option_works_only_where_the_settings_allow_it(
    api_server: Cluster, rest: Rest, option: dict[str, str]
) -> None:
    pod = injected()
    pod["metadata"]["annotations"] |= option
    if "thoughtgate.io/config" in option:
        volume(pod, "thoughtgate-config")["configMap"]["name"] = "other"
    if "thoughtgate.io/image" in option:
        ours(pod)["image"] = "registry.example/proxy"
    if "thoughtgate.io/native-sidecar" in option:
        pod["spec"]["containers"].append(pod["spec"]["initContainers"].pop())
        del pod["spec"]["containers"][-1]["restartPolicy"]
    assert rest.create(pod, "free").refused is None
    beside.policies(api_server, ALL | {"options.allowed": ""})
    try:
        assert "need the operator's settings to allow them" in str(rest.create(pod, "free").refused)
    finally:
        beside.policies(api_server, ALL)


def test_a_plain_sidecar_needs_an_agent_beside_it(rest: Rest) -> None:
    """Else exec without a container's name would go into it."""
    pod = injected()
    pod["metadata"]["annotations"]["thoughtgate.io/native-sidecar"] = "false"
    pod["spec"]["containers"] = [pod["spec"]["initContainers"].pop()]
    del pod["spec"]["containers"][0]["restartPolicy"]
    assert "not where the injector puts it" in str(rest.create(pod, "free").refused)


def test_a_pod_of_a_mebibyte_is_within_the_policys_budget(rest: Rest) -> None:
    """What costs too much to judge is refused by the API server: no pod that it takes may be."""
    pod = injected()
    more = [{"name": f"V{number}", "value": "x" * 60} for number in range(2000)]
    pod["spec"]["containers"] += [
        {
            "name": f"c{number}",
            "image": "a",
            "env": more[:100],
            "volumeMounts": [{"name": "v", "mountPath": f"/m{mount}"} for mount in range(60)],
        }
        for number in range(100)
    ]
    pod["spec"]["volumes"] += [{"name": "v", "emptyDir": {}}]
    pod["spec"]["volumes"] += [{"name": f"v{number}", "emptyDir": {}} for number in range(1000)]
    pod["metadata"]["labels"] = {f"example.com/{number}": "x" for number in range(2000)}
    pod["metadata"]["annotations"] |= {f"example.com/{number}": "x" for number in range(5000)}
    assert rest.create(copy.deepcopy(pod), "free").refused is None
    pod["metadata"]["annotations"]["thoughtgate.io/inject"] = "false"
    assert rest.create(pod, "free").refused is None


@pytest.mark.parametrize("demand", beside.NAMESPACES)
def test_whoever_opted_in_is_asked_for_the_sidecar_and_nobody_else(
    rest: Rest, demand: str | None
) -> None:
    for label, annotation in itertools.product(WORDS, WORDS):
        metadata: Pod = {"name": "bystander", "labels": {}, "annotations": {}}
        if label:
            metadata["labels"]["thoughtgate.io/inject"] = label
        if annotation:
            metadata["annotations"]["thoughtgate.io/inject"] = annotation
        pod = {"metadata": metadata, "spec": {"containers": [{"name": "a", "image": "a"}]}}
        words = {word for word in (label, annotation) if word}
        asked = bool(words - {"false"}) or demand == "required" or (not words and bool(demand))
        refused = rest.create(pod, beside.NAMESPACES[demand]).refused
        assert (refused is not None) == asked, (demand, label, annotation, refused)


@pytest.mark.parametrize("namespace", ["kube-system", "thoughtgate-system"])
def test_the_excluded_namespaces_are_left_alone(rest: Rest, namespace: str) -> None:
    pod = {
        "metadata": {"name": "a", "annotations": {"thoughtgate.io/inject": "true"}},
        "spec": golden.injected()[0].pod["spec"],
    }
    refused = rest.create(pod, namespace).refused
    assert refused is None or "PodSecurity" in refused or "no API token" in refused, refused
