"""Who is opted in: words, entries, and the pods that are left alone."""

from typing import Any

import pytest

from thoughtgate_injector.core.refusal import Refusal
from thoughtgate_injector.core.settings import Settings
from thoughtgate_injector.core.verdict import Entry, Injection, Skip, decide

KEY = "thoughtgate.io/inject"


def pod(annotation: object = None, label: object = None, **metadata: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "annotations": {} if annotation is None else {KEY: annotation},
            "labels": {} if label is None else {KEY: label},
            **metadata,
        },
        "spec": {"containers": [{"name": "agent", "image": "x"}]},
    }


@pytest.mark.parametrize(
    ("annotation", "label", "entry", "expected"),
    [
        ("true", None, Entry.POD, Injection),
        (None, "true", Entry.POD, Injection),
        ("true", "true", Entry.POD, Injection),
        ("false", None, Entry.POD, Skip),
        (None, None, Entry.POD, Skip),
        (None, None, Entry.NAMESPACE, Injection),
        ("false", None, Entry.NAMESPACE, Skip),
        (None, "false", Entry.REQUIRED, Refusal),
        ("false", "false", Entry.REQUIRED, Refusal),
        ("true", None, Entry.REQUIRED, Injection),
        ("true", "false", Entry.POD, Refusal),
        ("false", "true", Entry.REQUIRED, Refusal),
    ],
)
def test_the_word_and_the_entry_decide(
    annotation: str | None, label: str | None, entry: Entry, expected: type
) -> None:
    assert isinstance(decide(pod(annotation, label), entry, Settings()), expected)


@pytest.mark.parametrize(
    "word", ["flase", "True", "TRUE", "", " true", "true ", "yes", "1", "enabled", "t\nrue", "`", 1]
)
@pytest.mark.parametrize("entry", Entry)
@pytest.mark.parametrize("where", ["annotation", "label"])
def test_any_other_word_is_refused_on_one_line(word: object, entry: Entry, where: str) -> None:
    outcome = decide(pod(**{where: word}), entry, Settings())
    assert isinstance(outcome, Refusal)
    assert where in str(outcome)
    assert "allowed: `true`, `false`" in str(outcome)
    assert "\n" not in str(outcome)


def test_a_mirror_pods_annotation_is_no_way_round() -> None:
    """A kubelet's own mirror pods never get here; anybody can write their annotation."""
    forged = pod("true")
    forged["metadata"]["annotations"]["kubernetes.io/config.mirror"] = "hash"
    assert isinstance(decide(forged, Entry.POD, Settings()), Injection)


@pytest.mark.parametrize("namespace", ["kube-system", "thoughtgate-system"])
def test_an_excluded_namespace_is_left_alone(namespace: str) -> None:
    assert isinstance(decide(pod("true", namespace=namespace), Entry.POD, Settings()), Skip)


@pytest.mark.parametrize(
    "document",
    [
        {"metadata": [], "spec": {}},
        {"metadata": "x", "spec": {}},
        {"metadata": {"annotations": ["thoughtgate.io/inject"]}, "spec": {}},
        {"metadata": {"labels": ["thoughtgate.io/inject"]}, "spec": {}},
        {"metadata": {"annotations": {KEY: "true"}}},
        {"metadata": {"annotations": {KEY: "true"}}, "spec": None},
        {"metadata": {"annotations": {KEY: "true"}}, "spec": {"containers": {}}},
        {"metadata": {"annotations": {KEY: "true"}}, "spec": {"containers": [None]}},
        {"metadata": {"annotations": {KEY: "true"}}, "spec": {"volumes": [1]}},
        {"metadata": {"annotations": {KEY: "true", "x": 1}}, "spec": {}},
        {"metadata": {"annotations": {KEY: "true"}}, "spec": {"hostNetwork": "yes"}},
    ],
)
def test_what_is_no_pod_is_refused_in_words(document: dict[str, Any]) -> None:
    outcome = decide(document, Entry.POD, Settings())
    assert isinstance(outcome, Refusal)


@pytest.mark.parametrize("owner", ["Job", "ReplicaSet"])
def test_a_plain_sidecar_is_never_put_into_a_job(owner: str) -> None:
    asked = pod("true", ownerReferences=[{"kind": owner}])
    asked["metadata"]["annotations"]["thoughtgate.io/native-sidecar"] = "false"
    settings = Settings(allowed=frozenset({"native-sidecar"}))
    assert isinstance(decide(asked, Entry.POD, settings), Refusal) == (owner == "Job")
    assert isinstance(decide(asked, Entry.POD, settings, of_job=True), Refusal)


def test_an_agent_may_mount_its_own_volumes_at_our_paths() -> None:
    """As an example with labels of its own at /etc/podinfo does: mounts are per container."""
    asked = pod("true")
    asked["spec"]["containers"][0]["volumeMounts"] = [
        {"name": "x", "mountPath": path} for path in ("/etc", "/etc/podinfo", "/etc/thoughtgate")
    ]
    assert isinstance(decide(asked, Entry.POD, Settings()), Injection)


@pytest.mark.parametrize(
    ("policy", "refused"), [("Never", True), ("OnFailure", True), ("Always", False)]
)
def test_a_plain_sidecar_is_not_put_into_a_pod_that_is_to_end(policy: str, refused: bool) -> None:
    asked = pod("true")
    asked["metadata"]["annotations"]["thoughtgate.io/native-sidecar"] = "false"
    asked["spec"]["restartPolicy"] = policy
    outcome = decide(asked, Entry.POD, Settings(allowed=frozenset({"native-sidecar"})))
    assert isinstance(outcome, Refusal) == refused


@pytest.mark.parametrize(("grace", "seconds"), [(None, 30), (-1, 0), (0, 0), (1, 1), (45, 45)])
def test_the_sidecar_is_told_the_pods_grace_period(grace: int | None, seconds: int) -> None:
    asked = pod("true")
    if grace is not None:
        asked["spec"]["terminationGracePeriodSeconds"] = grace
    outcome = decide(asked, Entry.POD, Settings())
    assert isinstance(outcome, Injection)
    assert outcome.sidecar.grace_seconds == seconds


@pytest.mark.parametrize("name", ["proxy", "admin"])
def test_a_port_name_that_the_agent_uses_is_left_to_it(name: str) -> None:
    asked = pod("true")
    asked["spec"]["containers"][0]["ports"] = [{"name": name, "containerPort": 1}]
    outcome = decide(asked, Entry.POD, Settings())
    assert isinstance(outcome, Injection)
    ours = {outcome.sidecar.proxy_port_name, outcome.sidecar.admin_port_name}
    assert ours == {"proxy", "admin"} - {name} | {f"tg-{name}"}


def test_a_container_that_is_excluded_must_be_one_of_the_pods() -> None:
    asked = pod("true")
    asked["metadata"]["annotations"]["thoughtgate.io/exclude-containers"] = "agent"
    assert isinstance(decide(asked, Entry.POD, Settings()), Injection)
    asked["metadata"]["annotations"]["thoughtgate.io/exclude-containers"] = "agent,other"
    outcome = decide(asked, Entry.POD, Settings())
    assert "names `other`; allowed: the pod's containers `agent`" in str(outcome)
