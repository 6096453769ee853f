"""Where pods are in a manifest, and what they are called."""

from typing import Any

import pytest

from thoughtgate_injector.core.workloads import objects, pod_templates, title_of, unknown_templates

POD: dict[str, Any] = {"spec": {"containers": []}}


def test_each_kind_has_its_template_at_its_path() -> None:
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}}
    cron = {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "c"}}
    deployed = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}}
    documents = [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "p-"}, **POD},
        {**deployed, "spec": {"template": POD}},
        {**job, "spec": {"template": POD}},
        {**cron, "spec": {"jobTemplate": {"spec": {"template": POD}}}},
        {**deployed, "spec": {}},
        {**deployed, "apiVersion": "v1", "spec": {"template": POD}},
    ]
    found = list(pod_templates({"apiVersion": "v1", "kind": "List", "items": documents}))
    assert [(one.title, one.path, one.of_job) for one in found] == [
        ("Pod/p-", ("items", 0), False),
        ("Deployment/d", ("items", 1, "spec", "template"), False),
        ("Job/j", ("items", 2, "spec", "template"), True),
        ("CronJob/c", ("items", 3, "spec", "jobTemplate", "spec", "template"), True),
    ]
    assert [one.top for one in found] == documents[:4]
    assert all(one.pod["spec"] == POD["spec"] for one in found)


def test_an_items_own_kind_counts_before_the_lists() -> None:
    service = {"apiVersion": "v1", "kind": "Service", **POD}
    found = list(pod_templates({"apiVersion": "v1", "kind": "PodList", "items": [POD, service, 1]}))
    assert [(one.title, one.path) for one in found] == [("Pod/?", ("items", 0))]
    assert list(objects({"kind": "PodList", "items": [POD, service]})) == [POD, service]
    assert list(objects([POD])) == []
    assert list(pod_templates(None)) == []


def test_a_template_of_an_unknown_kind_is_known_by_its_shape() -> None:
    template = {"metadata": {}, "spec": {"containers": [{"image": "x"}]}}
    rollout = {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "spec": {"t": template}}
    ray = {"kind": "RayCluster", "spec": {"groups": [{"template": template}, {"template": 1}]}}
    others = [
        {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": template}},
        {"kind": "Schema", "t": {"metadata": {}, "spec": {"containers": {"type": "array"}}}},
        {"kind": "Half", "t": {"spec": {"containers": []}}},
    ]
    found = list(unknown_templates({"kind": "List", "items": [rollout, ray, *others]}))
    assert [(one.title, one.path) for one in found] == [
        ("Rollout/?", ("items", 0, "spec", "t")),
        ("RayCluster/?", ("items", 1, "spec", "groups", 0, "template")),
    ]
    assert [one.top for one in found] == [rollout, ray]
    assert list(unknown_templates([rollout])) == []


@pytest.mark.parametrize(
    ("metadata", "name"),
    [
        ({"name": "a", "generateName": "b-"}, "a"),
        ({"generateName": "b-"}, "b-"),
        ({"name": ""}, "?"),
        (None, "?"),
        ([], "?"),
    ],
)
def test_a_title_is_the_kind_and_the_name_that_there_is(metadata: object, name: str) -> None:
    assert title_of({"kind": "Pod", "metadata": metadata}) == f"Pod/{name}"
