"""Webhooks of other products around ours: reviewed again we have the last word on our container."""

import copy
from typing import Any

import pytest

from tests.injector.core.test_review import sidecar
from tests.injector.platforms import DIGEST, MIRROR, PLATFORMS
from thoughtgate_injector.core import names
from thoughtgate_injector.core.mutate import Mutation
from thoughtgate_injector.core.patch import apply
from thoughtgate_injector.core.refusal import Refusal
from thoughtgate_injector.core.review import Reviewer
from thoughtgate_injector.core.settings import Settings
from thoughtgate_injector.core.verdict import Entry, NoChange

Pod = dict[str, Any]
REVIEWER = Reviewer(Settings(), "0.2.0")


def agent(**annotations: str) -> Pod:
    return {
        "metadata": {"annotations": {names.INJECT: "true", **annotations}},
        "spec": {"containers": [{"name": "agent", "image": "x"}]},
    }


def reviewed(pod: Pod, reviewer: Reviewer = REVIEWER) -> Pod:
    outcome = reviewer.review(pod, Entry.POD)
    if isinstance(outcome, NoChange):
        return pod
    assert isinstance(outcome, Mutation), outcome
    after = copy.deepcopy(pod)
    apply(after, copy.deepcopy(outcome.operations))
    return after


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("plain", [False, True])
def test_ours_is_written_back_and_theirs_stays_with_the_agent(platform: str, plain: bool) -> None:
    pod = agent(**({f"{names.PREFIX}native-sidecar": "false"} if plain else {}))
    reviewer = Reviewer(Settings(allowed=frozenset({"native-sidecar"})), "0.2.0")
    injected = reviewed(pod, reviewer)
    changed = copy.deepcopy(injected)
    PLATFORMS[platform](changed)
    again = reviewed(changed, reviewer)
    if platform != "guaranteed":  # there our share follows the pod's class
        assert sidecar(again) == sidecar(injected)
    limits = sidecar(again)["resources"]
    assert (limits["requests"] == limits["limits"]) == (platform == "guaranteed")
    place = "containers" if plain else "initContainers"
    assert names.CONTAINER in {one["name"] for one in again["spec"][place]}
    assert [one for one in again["spec"]["containers"] if one["name"] == "agent"] == [
        one for one in changed["spec"]["containers"] if one["name"] == "agent"
    ]
    assert again["spec"]["volumes"] == changed["spec"]["volumes"]
    assert reviewer.review(again, Entry.POD) == NoChange()


RECIPES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "eks": ({"eks.amazonaws.com/skip-containers": "thoughtgate"}, {}),
    "azure": ({"azure.workload.identity/skip-containers": "thoughtgate"}, {}),
    "datadog": ({}, {"admission.datadoghq.com/enabled": "false"}),
    "vault": ({"vault.hashicorp.com/agent-inject-containers": "agent"}, {}),
}


@pytest.mark.parametrize("platform", RECIPES)
def test_with_the_recipe_of_the_page_ours_is_left_alone_by_the_last_word(platform: str) -> None:
    annotations, labels = RECIPES[platform]
    pod = agent(**annotations)
    pod["metadata"]["labels"] = labels
    injected = reviewed(pod)
    changed = copy.deepcopy(injected)
    PLATFORMS[platform](changed)
    assert sidecar(changed) == sidecar(injected)
    assert REVIEWER.review(changed, Entry.POD) == NoChange()


@pytest.mark.parametrize(
    ("platform", "image"),
    [("kyverno", names.SIDECAR_IMAGE + DIGEST), ("mirror", MIRROR + names.SIDECAR_IMAGE)],
)
def test_a_digest_or_mirror_of_the_settings_stays(platform: str, image: str) -> None:
    settings = Settings(images=(names.SIDECAR_IMAGE, image))
    pod = reviewed(agent())
    PLATFORMS[platform](pod)
    assert sidecar(reviewed(pod))["image"] == names.SIDECAR_IMAGE
    known = Reviewer(settings, "0.2.0")
    assert known.review(pod, Entry.POD) == NoChange()
    PLATFORMS["eks"](pod)
    assert sidecar(reviewed(pod, known))["image"] == image


def test_a_container_by_hand_is_still_refused() -> None:
    pod = reviewed(agent())
    PLATFORMS["eks"](pod)
    hand = copy.deepcopy(pod)
    del hand["metadata"]["annotations"][names.STATUS]
    assert isinstance(REVIEWER.review(hand, Entry.POD), Refusal)
    unmounted = copy.deepcopy(pod)
    sidecar(unmounted)["volumeMounts"].clear()
    assert isinstance(REVIEWER.review(unmounted, Entry.POD), Refusal)
