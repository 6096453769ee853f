"""`inject` without a cluster: whole files in, whole files out."""

import json
from typing import Any

import pytest
import yaml

from thoughtgate_injector.core.refusal import Refusal
from thoughtgate_injector.core.review import Reviewer
from thoughtgate_injector.core.settings import Settings
from thoughtgate_injector.core.verdict import Entry
from thoughtgate_injector.offline import rewrite, yaml_edit
from thoughtgate_injector.offline.rewrite import RewriteResult

REVIEWER = Reviewer(Settings(), "0.1.0")
POD = """\
metadata:
  annotations: {thoughtgate.io/inject: "true"}
spec:
  containers:
  - name: agent
    image: x
"""


def inject(text: str, namespace: Entry | None = None) -> str:
    result = rewrite.inject(text, REVIEWER, namespace)
    assert isinstance(result, RewriteResult), str(result)
    return result.text


def refuse(text: str, namespace: Entry | None = None) -> str:
    result = rewrite.inject(text, REVIEWER, namespace)
    assert isinstance(result, Refusal)
    return str(result)


def indented(text: str, columns: int) -> str:
    return "".join(" " * columns + line + "\n" for line in text.splitlines())


def workload(kind: str, version: str, pod: str = POD) -> str:
    head = f"apiVersion: {version}\nkind: {kind}\n"
    if kind == "Pod":
        return head + pod
    if kind == "CronJob":
        inner = "spec:\n  jobTemplate:\n    spec:\n      template:\n" + indented(pod, 8)
    else:
        inner = "spec:\n  template:\n" + indented(pod, 4)
    return head + "metadata:\n  name: w\n" + inner


KINDS = {
    "Pod": "v1",
    "ReplicationController": "v1",
    "Deployment": "apps/v1",
    "ReplicaSet": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "Job": "batch/v1",
    "CronJob": "batch/v1",
}


def sidecars(text: str) -> int:
    return text.count("name: thoughtgate\n") + text.count('"name": "thoughtgate"')


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_workload_gets_the_sidecar_once(kind: str) -> None:
    once = inject(workload(kind, KINDS[kind]))
    assert sidecars(once) == 1
    assert inject(once) == once


@pytest.mark.parametrize(
    ("kind", "version"),
    [
        ("Deployment", "example.com/v1"),
        ("Job", "batch.volcano.sh/v1"),
        ("Foo", "v1"),
        ("Pod", "x/v1"),
    ],
)
def test_a_kind_of_the_same_name_in_another_group_passes_unchanged(kind: str, version: str) -> None:
    text = workload(kind, version)
    assert inject(text) == text


UNTOUCHED = """\
%YAML 1.2
---
# a comment   with   spaces
{a: 1,   b: "two"}
...
---
apiVersion: v1
kind:   ConfigMap
data:
    odd:  |
      --- not a marker
---
---
apiVersion: v1
kind: Pod
metadata:
  annotations: {thoughtgate.io/inject: "false"}
spec: {containers: [{name: a,   image: b}]}
# the end, without a newline"""


def test_what_is_not_opted_in_passes_to_the_byte() -> None:
    assert inject(UNTOUCHED) == UNTOUCHED
    assert inject("") == ""
    assert inject("# only a comment\n") == "# only a comment\n"
    assert inject(UNTOUCHED.replace("\n", "\r\n")) == UNTOUCHED.replace("\n", "\r\n")


def test_documents_beside_a_changed_one_pass_to_the_byte() -> None:
    before = UNTOUCHED + "\n--- # here\n"
    after = "...\n# between\n---\nkind:    Other\n"
    out = inject(before + workload("Deployment", "apps/v1") + after)
    assert out.startswith(before)
    assert out.endswith(after)
    assert sidecars(out) == 1


def test_comments_order_and_quotes_of_a_changed_document_are_kept() -> None:
    text = """\
# at the front
kind: Deployment   # the kind
apiVersion: apps/v1
metadata:
  name: 'quoted'
  # before the labels
  labels: {a: "b"}
spec:
  template:
    metadata:
      annotations:
        thoughtgate.io/inject: "true"   # opted in
    spec:
      containers:
        # the agent
        - image: x
          name: agent   # its name
          args: ["--long", 'single', plain, 0644, 1e3, yes]
      # at the end
"""
    out = inject(text)
    kept = [line for line in out.splitlines() if line in text.splitlines()]
    assert kept == text.splitlines()


def test_comments_at_the_end_stay_at_the_end() -> None:
    tail = "    # after the agent\n  # after the containers\n# after the pod\n"
    out = inject(workload("Pod", "v1") + tail)
    assert out.endswith("    image: x\n" + tail)


def test_lists_are_taken_apart_and_each_item_decided_alone() -> None:
    items = [
        yaml.safe_load(workload("Deployment", "apps/v1")),
        yaml.safe_load(workload("CronJob", "batch/v1")),
        {"kind": "Service", "apiVersion": "v1"},
        {"kind": "List", "apiVersion": "v1", "items": [yaml.safe_load(workload("Pod", "v1"))]},
    ]
    text = yaml.safe_dump({"apiVersion": "v1", "kind": "List", "items": items})
    out = inject(text)
    assert sidecars(out) == 3
    assert inject(out) == out


def test_a_typed_list_may_leave_out_its_items_kind() -> None:
    pod = yaml.safe_load(POD)
    text = yaml.safe_dump({"apiVersion": "v1", "kind": "PodList", "items": [pod]})
    assert sidecars(inject(text)) == 1


@pytest.mark.parametrize("expands", [True, False])
def test_an_alias_is_changed_for_each_of_its_places_alone(
    expands: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = """\
# a comment
apiVersion: v1
kind: Pod
metadata: {annotations: {thoughtgate.io/inject: "true"}}
spec:
  containers:
  - &first
    name: a
    env: &env
    - {name: A, value: b}
  - name: b
    env: *env
  - <<: *first
    name: c
"""
    text = text.replace("name: b", "name: b  # kept")
    if not expands:
        # What would be printed is then not what was decided: it is written anew, without comments.
        monkeypatch.setattr(yaml_edit, "_expand", lambda _: None)
    out = inject(text)
    assert ("# kept" in out) == expands
    pod = yaml.safe_load(out)
    for container in pod["spec"]["containers"]:
        assert [variable["name"] for variable in container["env"]] == ["MCP_SERVER_URL", "A"]


def test_json_stays_json() -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", **yaml.safe_load(POD)}
    text = json.dumps(pod, indent="\t")
    out = inject(text)
    assert [c["name"] for c in json.loads(out)["spec"]["initContainers"]] == ["thoughtgate"]
    assert inject(out) == out
    plain = '{"kind":\t"Pod", "apiVersion":"v1"}'
    assert inject(plain) == plain


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "a: 1\na: 2\n",
        "\tkey: value",
        "a: *nothing",
        '{"a": 1, "a": 2}',
        "---\na: 1\n---\n}\n",
        "? [a]\n: - b\n  c: d",
        "a: !!int x",
        "\x00",
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(text: str) -> None:
    assert "\n" not in refuse(text)


def test_one_refused_pod_refuses_the_file_with_all_reasons() -> None:
    bad = workload("Deployment", "apps/v1", POD.replace('"true"', '"flase"'))
    worse = workload("Job", "batch/v1", POD + "  hostNetwork: true\n")
    reasons = refuse("---\n".join([workload("Pod", "v1"), bad, worse]))
    assert reasons.startswith("Deployment/w: annotation `thoughtgate.io/inject` is `flase`")
    assert "Job/w: `spec.hostNetwork`" in reasons


def test_a_jobs_template_gets_no_plain_sidecar() -> None:
    reviewer = Reviewer(Settings(allowed=frozenset({"native-sidecar"})), "0.1.0")
    plain = POD.replace('"true"}', '"true", thoughtgate.io/native-sidecar: "false"}')
    for kind in ("Job", "CronJob"):
        assert isinstance(rewrite.inject(workload(kind, "batch/v1", plain), reviewer), Refusal)
    deployed = rewrite.inject(workload("Deployment", "apps/v1", plain), reviewer)
    assert isinstance(deployed, RewriteResult)
    spec: dict[str, Any] = yaml.safe_load(deployed.text)["spec"]["template"]["spec"]
    assert [container["name"] for container in spec["containers"]] == ["agent", "thoughtgate"]


def test_the_namespaces_label_can_be_given() -> None:
    silent = workload("Pod", "v1", POD.replace("thoughtgate.io/inject", "x"))
    says_no = workload("Pod", "v1", POD.replace('"true"', '"false"'))
    assert inject(silent) == silent
    assert sidecars(inject(silent, Entry.NAMESPACE)) == 1
    assert sidecars(inject(silent, Entry.REQUIRED)) == 1
    assert inject(says_no, Entry.NAMESPACE) == says_no
    assert "required" in refuse(says_no, Entry.REQUIRED)


def test_an_annotation_on_the_workload_is_a_warning() -> None:
    text = workload("Deployment", "apps/v1", POD.replace("thoughtgate.io/inject", "x")).replace(
        "name: w", 'name: w\n  annotations: {thoughtgate.io/inject: "true"}'
    )
    result = rewrite.inject(text, REVIEWER)
    assert isinstance(result, RewriteResult)
    assert result.text == text
    assert "belongs to the metadata of the pod template" in result.warnings[0]


def test_strings_that_yaml_1_1_reads_as_something_else_are_quoted() -> None:
    pod = yaml.safe_load(
        inject(workload("Pod", "v1", POD + "  terminationGracePeriodSeconds: 8\n"))
    )
    values = [v["value"] for v in pod["spec"]["initContainers"][0]["env"] if "value" in v]
    assert all(isinstance(value, str) for value in values)
    assert all(isinstance(value, str) for value in pod["metadata"]["annotations"].values())


@pytest.mark.parametrize("opted_in", [True, False])
def test_a_misspelt_domain_is_a_warning(opted_in: bool) -> None:
    pod = POD.replace("{", '{toughtgate.io/inject: "true", ')
    text = workload("Deployment", "apps/v1", pod if opted_in else pod.replace(" thought", " x"))
    result = rewrite.inject(text, REVIEWER)
    assert isinstance(result, RewriteResult)
    assert list(result.warnings) == [
        (
            "Deployment/w: annotation `toughtgate.io/inject` is no key of ThoughtGate and does "
            "nothing; the nearest one is `thoughtgate.io/inject`"
        )
    ]
    top = text.replace("name: w", 'name: w\n  labels: {thougtgate.io/inject: "true"}')
    result = rewrite.inject(top, REVIEWER)
    assert isinstance(result, RewriteResult)
    assert len(result.warnings) == 2
