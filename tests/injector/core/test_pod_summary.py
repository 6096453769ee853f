"""How running pods stand, by their own words and their namespace's."""

import copy
import json
from typing import Any

import pytest

from tests.injector import golden
from thoughtgate_injector.core import names
from thoughtgate_injector.core.mutate import Mutation
from thoughtgate_injector.core.patch import apply
from thoughtgate_injector.core.pod_summary import (
    OptIn,
    PodSummary,
    SidecarState,
    Workload,
    summarize,
)
from thoughtgate_injector.core.review import Reviewer
from thoughtgate_injector.core.settings import Settings
from thoughtgate_injector.core.verdict import Entry

REVIEWER = Reviewer(Settings(), "0.1.0")


def pod(word: str | None = "true", **metadata: Any) -> dict[str, Any]:
    words = {} if word is None else {names.INJECT: word}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "agent",
            "namespace": "agents",
            "uid": "u1",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "annotations": words,
            **metadata,
        },
        "spec": {"containers": [{"name": "agent", "image": "x"}]},
        "status": {"phase": "Running"},
    }


def injected(reviewer: Reviewer = REVIEWER, **metadata: Any) -> dict[str, Any]:
    made = pod(**metadata)
    outcome = reviewer.review(made, Entry.POD)
    assert isinstance(outcome, Mutation)
    apply(made, copy.deepcopy(outcome.operations))
    return made


def seen(document: dict[str, Any], reviewer: Reviewer = REVIEWER) -> PodSummary:
    found = summarize(document, reviewer)
    assert found is not None
    return found


def state(document: dict[str, Any], reviewer: Reviewer = REVIEWER) -> tuple[SidecarState, str]:
    standing = seen(document, reviewer).status_in(None)
    assert standing is not None
    return standing.state, standing.reason


def test_todays_sidecar_is_current() -> None:
    assert state(injected()) == (SidecarState.CURRENT, "")
    standing = seen(injected()).status
    assert (standing.version, standing.image) == ("0.1.0", names.SIDECAR_IMAGE)


@pytest.mark.parametrize("case", golden.injected(), ids=lambda case: str(case.name))
def test_every_golden_pod_is_current(case: golden.Case) -> None:
    document = case.patched()
    document["metadata"] |= {"name": "a", "namespace": "agents", "uid": "u"}
    found = seen(document, case.reviewer).status_in("enabled")
    assert found is not None
    assert (found.state, found.reason) == (SidecarState.CURRENT, "")


def test_no_sidecar_is_missing() -> None:
    assert state(pod()) == (SidecarState.MISSING, "it has no sidecar")


def test_a_container_of_our_name_without_a_record_is_missing() -> None:
    decoy = pod()
    decoy["spec"]["containers"].append({"name": "thoughtgate", "image": "evil"})
    assert state(decoy)[0] is SidecarState.MISSING
    decoy["metadata"]["annotations"][names.STATUS] = "{}"
    assert state(decoy)[0] is SidecarState.MISSING


def test_a_decoy_with_a_forged_record_is_not_current() -> None:
    decoy = pod()
    decoy["spec"]["containers"].append({"name": "thoughtgate", "image": names.SIDECAR_IMAGE})
    status = injected()["metadata"]["annotations"][names.STATUS]
    decoy["metadata"]["annotations"][names.STATUS] = status
    what, why = state(decoy)
    assert what is SidecarState.OUTDATED
    assert why.startswith("its sidecar is not the one of today: ")


def test_an_older_version_or_image_and_other_settings_are_outdated() -> None:
    old = state(injected(Reviewer(Settings(), "0.0.9")))
    assert old == (SidecarState.OUTDATED, "its sidecar is of version `0.0.9`, today's is `0.1.0`")
    newer = Reviewer(Settings(images=("new:v2", names.SIDECAR_IMAGE)), "0.1.0")
    assert state(injected(), newer) == (
        SidecarState.OUTDATED,
        f"its sidecar runs `{names.SIDECAR_IMAGE}`, today's is `new:v2`",
    )
    proxied = Reviewer(Settings(env={"HTTPS_PROXY": "http://p"}), "0.1.0")
    assert state(injected(), proxied)[0] is SidecarState.OUTDATED


def test_the_namespaces_label_counts_where_the_pod_says_nothing() -> None:
    silent = seen(pod(None))
    assert silent.asks is OptIn.NOTHING
    assert silent.status_in(None) is None
    assert silent.status_in("enabeld") is None
    for word in ("enabled", "true", "required"):
        standing = silent.status_in(word)
        assert standing is not None
        assert standing.state is SidecarState.MISSING


def test_a_no_counts_but_where_the_namespace_requires_the_sidecar() -> None:
    says_no = seen(pod("false"))
    assert says_no.status_in(None) is None
    assert says_no.status_in("enabled") is None
    standing = says_no.status_in("required")
    assert standing is not None
    assert standing.state is SidecarState.MISSING


def test_a_misspelt_word_that_came_in_is_missing() -> None:
    assert state(pod("flase")) == (SidecarState.MISSING, "it has no sidecar")


@pytest.mark.parametrize(
    "change",
    [
        {"status": {"phase": "Succeeded"}},
        {"status": {"phase": "Failed"}},
        {"metadata": {**pod()["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}},
        {"metadata": {**pod()["metadata"], "namespace": "kube-system"}},
        {"metadata": {**pod()["metadata"], "annotations": {names.MIRROR_POD: "x"}}},
        {"metadata": None},
        {"metadata": {"name": 1, "namespace": [], "uid": {}}},
    ],
)
def test_what_has_ended_or_is_not_ours_is_passed_over(change: dict[str, Any]) -> None:
    assert summarize({**pod(), **change}, REVIEWER) is None


@pytest.mark.parametrize(
    ("owner", "labels", "workload"),
    [
        (("ReplicaSet", "web-5d9"), {"pod-template-hash": "5d9"}, Workload("Deployment", "web")),
        (("ReplicaSet", "web-5d9"), {}, Workload("ReplicaSet", "web-5d9")),
        (("StatefulSet", "db"), {}, Workload("StatefulSet", "db")),
        (("Node", "n1"), {}, None),
    ],
)
def test_a_pods_workload_is_who_makes_it_anew(
    owner: tuple[str, str], labels: dict[str, str], workload: Workload | None
) -> None:
    kind, name = owner
    owners = [{"kind": "Other", "name": "x"}, {"kind": kind, "name": name, "controller": True}]
    assert seen(pod(ownerReferences=owners, labels=labels)).workload == workload
    assert seen(pod(ownerReferences=owners[:1])).workload is None


def test_a_hundred_characters_of_a_version_and_of_an_image_are_kept() -> None:
    made = injected()
    made["spec"]["initContainers"][0]["image"] = "i" * 101
    record = json.loads(made["metadata"]["annotations"][names.STATUS])
    for length, kept in ((100, 100), (101, 100)):
        record["version"] = "v" * length
        made["metadata"]["annotations"][names.STATUS] = json.dumps(record)
        found = seen(made).status
        assert (found.version, found.image) == ("v" * kept, "i" * 100)
