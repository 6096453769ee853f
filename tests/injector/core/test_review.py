"""Golden and generated pods, and what must hold of every one of them."""

import copy
import json
from typing import Any

import jsonpatch
import pytest
from hypothesis import given, settings

from tests.injector import generated, golden
from tests.injector.golden import Case
from thoughtgate_injector.core import names
from thoughtgate_injector.core.mutate import Mutation
from thoughtgate_injector.core.patch import apply
from thoughtgate_injector.core.refusal import Refusal
from thoughtgate_injector.core.review import Reviewer
from thoughtgate_injector.core.settings import Settings
from thoughtgate_injector.core.sidecar import SECURITY_CONTEXT, VOLUMES
from thoughtgate_injector.core.verdict import Entry, NoChange

INJECTED = golden.injected()


def named(case: Case) -> str:
    return case.name


@pytest.mark.parametrize("case", INJECTED + golden.refused(), ids=named)
def test_a_pod_becomes_what_its_golden_file_says(case: Case) -> None:
    assert golden.text(case) == golden.golden(case).read_text()


@pytest.mark.parametrize("case", golden.refused(), ids=named)
def test_a_refused_pod_gets_reasons_of_one_line_each(case: Case) -> None:
    outcome = case.review()
    assert isinstance(outcome, Refusal)
    assert all("\n" not in reason and "`" in reason + "`" for reason in outcome.reasons)


@pytest.mark.parametrize("case", INJECTED, ids=named)
def test_a_second_injection_changes_nothing(case: Case) -> None:
    assert case.review(case.patched()) == NoChange()


@pytest.mark.parametrize("case", INJECTED, ids=named)
def test_the_same_review_gets_the_same_answer(case: Case) -> None:
    assert case.review() == case.review(copy.deepcopy(case.pod))


@pytest.mark.parametrize("case", INJECTED, ids=named)
def test_the_review_leaves_the_pod_that_it_read_as_it_was(case: Case) -> None:
    before = copy.deepcopy(case.pod)
    case.review()
    assert case.pod == before


@pytest.mark.parametrize("case", INJECTED, ids=named)
def test_the_patch_means_the_same_to_another_library(case: Case) -> None:
    outcome = case.review()
    assert isinstance(outcome, Mutation)
    assert jsonpatch.apply_patch(case.pod, list(outcome.operations)) == case.patched()


@pytest.mark.parametrize("case", INJECTED, ids=named)
def test_a_sidecar_is_recognised_after_the_api_server_has_written_its_defaults(case: Case) -> None:
    pod = case.patched()
    default(pod)
    assert case.review(pod) == NoChange()


@pytest.mark.parametrize("case", INJECTED, ids=named)
def test_the_sidecar_is_restricted_and_runs_the_images_own_entrypoint(case: Case) -> None:
    ours = sidecar(case.patched())
    assert ours["securityContext"] == SECURITY_CONTEXT
    assert not {"command", "args", "lifecycle", "envFrom"} & ours.keys()
    assert {mount["name"] for mount in ours["volumeMounts"]} == set(VOLUMES)


@pytest.mark.parametrize("case", INJECTED, ids=named)
def test_the_status_says_in_json_what_was_done(case: Case) -> None:
    annotations = case.patched()["metadata"]["annotations"]
    status = json.loads(annotations[names.STATUS])
    assert status["version"] == "0.2.0"
    assert status["image"] == sidecar(case.patched())["image"]
    assert set(status["annotations"]) <= annotations.keys()


def sidecar(pod: dict[str, Any]) -> dict[str, Any]:
    groups = [pod["spec"].get("initContainers") or [], pod["spec"]["containers"]]
    found = [one for group in groups for one in group if one["name"] == names.CONTAINER]
    assert len(found) == 1
    return dict(found[0])


def default(pod: dict[str, Any]) -> None:
    """Write what k8s.io/kubernetes/pkg/apis/core/v1/defaults.go would, and two plugins more."""
    for volume in pod["spec"]["volumes"]:
        for kind in {"configMap", "secret", "downwardAPI"} & volume.keys():
            volume[kind].setdefault("defaultMode", 420)
        for item in volume.get("downwardAPI", {}).get("items", ()):
            item["fieldRef"].setdefault("apiVersion", "v1")
    groups = [pod["spec"].get("initContainers") or [], pod["spec"]["containers"]]
    for container in [one for group in groups for one in group]:
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        container["imagePullPolicy"] = "Always"  # the plugin AlwaysPullImages
        for variable in container.get("env") or ():
            if "fieldRef" in variable.get("valueFrom", {}):
                variable["valueFrom"]["fieldRef"].setdefault("apiVersion", "v1")
        for probe in {"startupProbe", "livenessProbe", "readinessProbe"} & container.keys():
            container[probe].setdefault("timeoutSeconds", 1)
            container[probe].setdefault("successThreshold", 1)
            container[probe].setdefault("failureThreshold", 3)
            if "httpGet" in container[probe]:
                container[probe]["httpGet"].setdefault("scheme", "HTTP")
        if container["name"] == names.CONTAINER:
            limits = container["resources"]["limits"]
            limits["cpu"] = {"0.1": "100m"}.get(limits["cpu"], limits["cpu"])
            limits["ephemeral-storage"] = "1Gi"  # the plugin LimitRanger


REVIEWER = Reviewer(Settings(), "0.1.0")
# What of the generated a refusal may speak of: all else must be injected.
REFUSABLE = (
    "shareProcessNamespace", "is not the sidecar's", "would make a Guaranteed pod Burstable",
)  # fmt: skip


@settings(max_examples=300)
@given(generated.pods(**{"thoughtgate.io/inject": "true"}))
def test_a_pod_is_injected_once_and_only_as_the_contract_lists_or_refused_for_a_reason(
    pod: dict[str, Any],
) -> None:
    before = copy.deepcopy(pod)
    outcome = REVIEWER.review(pod, Entry.POD)
    assert pod == before
    if isinstance(outcome, Refusal):
        assert all(any(known in words for known in REFUSABLE) for words in outcome.reasons), outcome
        return
    assert isinstance(outcome, Mutation)
    patched = copy.deepcopy(pod)
    apply(patched, copy.deepcopy(outcome.operations))
    assert generated.without_ours(patched) == generated.without_ours(pod)
    assert REVIEWER.review(patched, Entry.POD) == NoChange()
    default(patched)
    assert REVIEWER.review(patched, Entry.POD) == NoChange()
