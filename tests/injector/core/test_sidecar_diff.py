"""A container of our name is ours, or it is refused: decoys, and what others may change."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from tests.injector import golden
from tests.injector.core.test_review import sidecar
from thoughtgate_injector.core.mutate import Mutation
from thoughtgate_injector.core.patch import apply
from thoughtgate_injector.core.refusal import Refusal
from thoughtgate_injector.core.review import Outcome, Reviewer
from thoughtgate_injector.core.settings import Settings
from thoughtgate_injector.core.verdict import Entry, NoChange

Pod = dict[str, Any]


def injected() -> Pod:
    case = next(case for case in golden.injected() if case.name == "minimal")
    return case.patched()


def review(pod: Pod) -> Outcome:
    return Reviewer(Settings(), "0.1.0").review(pod, Entry.POD)


def ours(pod: Pod) -> Pod:
    found: Pod = pod["spec"]["initContainers"][0]
    assert found["name"] == "thoughtgate"
    return found


def by_hand(pod: Pod) -> Pod:
    """Take the status away, without which a container of our name was not injected."""
    pod["metadata"]["annotations"].pop("thoughtgate.io/status")
    return pod


def volume(pod: Pod, name: str) -> Pod:
    return next(one for one in pod["spec"]["volumes"] if one["name"] == name)


DECOYS: dict[str, Callable[[Pod], object]] = {
    "another image": lambda p: ours(p).update(image="evil"),
    "a command": lambda p: ours(p).update(command=["sleep"]),
    "arguments": lambda p: ours(p).update(args=["check"]),
    "no restart policy": lambda p: ours(p).pop("restartPolicy"),
    "a preloaded library": lambda p: ours(p)["env"].append({"name": "LD_PRELOAD", "value": "x"}),
    "another configuration": lambda p: ours(p)["env"][0].update(value="/tmp/config.yaml"),
    "environment from elsewhere": lambda p: ours(p).update(envFrom=[{"configMapRef": {}}]),
    "a grace that is no number": lambda p: ours(p)["env"][1].update(value="-1"),
    "a grace from elsewhere, too": lambda p: ours(p)["env"][1].update(
        valueFrom={"fieldRef": {"fieldPath": "metadata.name"}}
    ),
    "two graces": lambda p: ours(p)["env"].insert(1, {"name": "X", "value": "30"}),
    "one variable less": lambda p: ours(p)["env"].pop(),
    "a port of a Service": lambda p: ours(p)["env"][4].update(value="tcp://10.0.0.1:80"),
    "an end without words": lambda p: ours(p).update(terminationMessagePolicy="File"),
    "root": lambda p: ours(p)["securityContext"].update(runAsUser=0),
    "a user that is true": lambda p: ours(p)["securityContext"].update(runAsNonRoot=1),
    "privileges": lambda p: ours(p)["securityContext"].update(privileged=True),
    "a capability": lambda p: ours(p)["securityContext"]["capabilities"].update(add=["NET_RAW"]),
    "no security context": lambda p: ours(p).pop("securityContext"),
    "one mount more": lambda p: ours(p)["volumeMounts"].append({"name": "x", "mountPath": "/x"}),
    "a mount with a sub path": lambda p: ours(p)["volumeMounts"][1].update(subPath="x"),
    "a mount elsewhere": lambda p: ours(p)["volumeMounts"][0].update(mountPath="/x"),
    "the token after all": lambda p: ours(p)["volumeMounts"].pop(),
    "another port": lambda p: ours(p)["ports"][0].update(containerPort=1),
    "a port on the host": lambda p: ours(p)["ports"][0].update(hostPort=7467),
    "a hook": lambda p: ours(p).update(lifecycle={"postStart": {}}),
    "a probe that proves nothing": lambda p: ours(p)["startupProbe"]["httpGet"].update(port=1),
    "a probe of another host": lambda p: ours(p)["readinessProbe"]["httpGet"].update(host="x"),
    "a lazy probe": lambda p: ours(p)["livenessProbe"].update(failureThreshold=1000),
    "starved": lambda p: ours(p)["resources"]["limits"].update(memory="1Mi"),
    "unlimited": lambda p: ours(p)["resources"].pop("limits"),
    "a claim": lambda p: ours(p)["resources"].update(claims=[{"name": "gpu"}]),
    "never pulled": lambda p: ours(p).update(imagePullPolicy="Never"),
    "an unknown field": lambda p: ours(p).update(somethingNew=True),
    "its word is a mapping": lambda p: ours(p).update(image={}),
    "twice": lambda p: p["spec"]["initContainers"].append(copy.deepcopy(ours(p))),
    "twice, once plain": lambda p: p["spec"]["containers"].append(copy.deepcopy(ours(p))),
    "moved to the containers": lambda p: p["spec"]["containers"].append(
        p["spec"]["initContainers"].pop()
    ),
    "forged labels": lambda p: volume(p, "thoughtgate-podinfo").update(
        downwardAPI={"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.name"}}]}
    ),
    "labels from a config map": lambda p: volume(p, "thoughtgate-podinfo").update(
        configMap={"name": "x"}
    ),
    "another config map": lambda p: volume(p, "thoughtgate-config")["configMap"].update(name="x"),
    "an optional config map": lambda p: volume(p, "thoughtgate-config")["configMap"].update(
        optional=True
    ),
    "a state on the host": lambda p: (
        volume(p, "thoughtgate-state").pop("emptyDir"),
        volume(p, "thoughtgate-state").update(hostPath={"path": "/"}),
    ),
    "a volume less": lambda p: p["spec"]["volumes"].pop(),
    "no volumes": lambda p: p["spec"].pop("volumes"),
    "a volume twice": lambda p: p["spec"]["volumes"].append({"name": "thoughtgate-state"}),
    "a volume of ours twice": lambda p: p["spec"]["volumes"].append(volume(p, "thoughtgate-state")),
    "an agent in its state": lambda p: p["spec"]["containers"][0].update(
        volumeMounts=[{"name": "thoughtgate-state", "mountPath": "/x"}]
    ),
    "a shared process namespace": lambda p: p["spec"].update(shareProcessNamespace=True),
    "other options afterwards": lambda p: p["metadata"]["annotations"].update(
        {"thoughtgate.io/profile": "heavy"}
    ),
    "only its status": lambda p: (
        p["spec"].pop("initContainers"),
        p["spec"]["containers"].append({"name": "thoughtgate", "image": "x"}),
    ),
}


@pytest.mark.parametrize("decoy", DECOYS)
def test_a_decoy_without_our_status_is_refused(decoy: str) -> None:
    pod = injected()
    DECOYS[decoy](pod)
    by_hand(pod)
    outcome = review(pod)
    assert isinstance(outcome, Refusal), decoy


@pytest.mark.parametrize("decoy", DECOYS)
def test_a_decoy_with_it_is_refused_or_ours_is_written_over_it(decoy: str) -> None:
    pod = injected()
    DECOYS[decoy](pod)
    outcome = review(pod)
    if isinstance(outcome, Refusal):
        return
    assert isinstance(outcome, Mutation)
    apply(pod, copy.deepcopy(outcome.operations))
    wanted = injected()
    wanted["metadata"]["annotations"] = pod["metadata"]["annotations"]  # the options of afterwards
    assert review(pod) == NoChange()
    if decoy != "other options afterwards":
        assert ours(pod) == ours(wanted)


def test_the_reason_names_the_field_and_what_to_do() -> None:
    pod = injected()
    ours(pod)["securityContext"]["runAsUser"] = 0
    by_hand(pod)
    assert str(review(pod)) == (
        "the pod has a container `thoughtgate` that is not exactly the injected one: "
        "`securityContext.runAsUser` is `0` where ours is `65532`; drop one of the two, that "
        "container or `thoughtgate.io/inject`"
    )


OTHERS: dict[str, Callable[[Pod], object]] = {
    "a mesh goes first": lambda p: p["spec"]["initContainers"].insert(
        0,
        {
            "name": "mesh",
            "image": "m",
            "restartPolicy": "Always",
            "ports": [{"name": "proxy", "containerPort": 2}],
        },
    ),
    "an agent gets environment": lambda p: p["spec"]["containers"][0]["env"].append(
        {"name": "HTTP_PROXY", "value": "x"}
    ),
    "an agent loses our environment": lambda p: p["spec"]["containers"][0].pop("env"),
    "a container more, with our port's name": lambda p: p["spec"]["containers"].append(
        {"name": "late", "image": "l", "ports": [{"name": "admin", "containerPort": 1}]}
    ),
    "the grace period changes": lambda p: p["spec"].update(terminationGracePeriodSeconds=600),
    "the pod becomes guaranteed": lambda p: p["spec"]["containers"][0].update(
        resources={"limits": {"cpu": "1", "memory": "1Gi"}}
    ),
    "the status is taken away": lambda p: p["metadata"]["annotations"].pop("thoughtgate.io/status"),
    "the status is forged": lambda p: p["metadata"]["annotations"].update(
        {"thoughtgate.io/status": "{}"}
    ),
    "tolerations": lambda p: p["spec"].update(tolerations=[{"operator": "Exists"}]),
    "a token for the agent": lambda p: p["spec"]["containers"][0].update(
        volumeMounts=[
            {"name": "token", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}
        ]
    ),
    "empty fields": lambda p: ours(p).update(command=[], args=None, workingDir="", envFrom=[]),
    "another order of keys": lambda p: p["spec"]["initContainers"].append(
        dict(reversed(list(p["spec"]["initContainers"].pop().items())))
    ),
}


@pytest.mark.parametrize("change", OTHERS)
def test_a_webhook_after_us_makes_the_reinvocation_change_nothing(change: str) -> None:
    pod = injected()
    OTHERS[change](pod)
    assert review(pod) == NoChange()


def test_a_forged_status_does_not_stand_in_for_a_sidecar() -> None:
    pod: Pod = {
        "metadata": {
            "annotations": {
                "thoughtgate.io/inject": "true",
                "thoughtgate.io/status": injected()["metadata"]["annotations"][
                    "thoughtgate.io/status"
                ],
            }
        },
        "spec": {"containers": [{"name": "agent", "image": "x"}]},
    }
    outcome = review(pod)
    assert not isinstance(outcome, NoChange | Refusal)


def test_an_older_image_of_the_settings_is_ours_and_another_is_not() -> None:
    pod = injected()
    old = sidecar(pod)["image"]
    assert old == Settings().image
    upgraded = Reviewer(Settings(images=("new:v2", old)), "0.1.0")
    assert upgraded.review(pod, Entry.POD) == NoChange()
    forgotten = Reviewer(Settings(images=("new:v2",)), "0.1.0")
    assert isinstance(forgotten.review(by_hand(pod), Entry.POD), Refusal)


def test_an_amount_that_the_api_server_has_rounded_up_is_ours() -> None:
    pod = by_hand(injected())
    pod["metadata"]["annotations"]["thoughtgate.io/cpu-request"] = "1500u"
    for written, outcome in (("2m", NoChange()), ("1500u", NoChange()), ("3m", None)):
        ours(pod)["resources"]["requests"]["cpu"] = written
        assert review(pod) == outcome if outcome else isinstance(review(pod), Refusal)


@pytest.mark.parametrize("amount", ["201m", "200001u", 0.2001])
def test_an_amount_that_is_a_little_more_is_not_ours(amount: str | float) -> None:
    pod = by_hand(injected())
    ours(pod)["resources"]["limits"]["cpu"] = amount
    assert "`resources.limits.cpu`" in str(review(pod))


def test_the_first_volume_that_is_missing_is_named() -> None:
    pod = by_hand(injected())
    gone = ("thoughtgate-podinfo", "thoughtgate-state")
    pod["spec"]["volumes"] = [one for one in pod["spec"]["volumes"] if one["name"] not in gone]
    assert "the volume `thoughtgate-podinfo` is missing" in str(review(pod))
