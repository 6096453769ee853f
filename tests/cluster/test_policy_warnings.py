"""What `kubectl apply` warns of, without any webhook: words that would do nothing."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster import beside
from tests.cluster.cluster import Cluster
from tests.cluster.rest import Rest

Object = dict[str, Any]
KINDS = {
    "Deployment": "apps/v1",
    "StatefulSet": "apps/v1",
    "DaemonSet": "apps/v1",
    "ReplicaSet": "apps/v1",
    "ReplicationController": "v1",
    "Job": "batch/v1",
    "CronJob": "batch/v1",
}
INJECT = {"thoughtgate.io/inject": "true"}


@pytest.fixture(scope="module")
def rest(api_server: Cluster) -> Iterator[Rest]:
    beside.policies(api_server, {})
    beside.namespaces(api_server)
    rest = Rest(api_server)
    yield rest
    rest.close()


def workload(kind: str, top: Object, template: Object, job: Object | None = None) -> Object:
    """A workload with annotations of its own, of its pods and, in a CronJob, of its jobs."""
    labels = {"app": "a"}
    pod: Object = {
        "metadata": {"labels": labels, "annotations": template},
        "spec": {"containers": [{"name": "a", "image": "a"}]},
    }
    spec: Object = {"template": pod}
    if kind in {"Job", "CronJob"}:
        pod["spec"]["restartPolicy"] = "Never"
    elif kind == "ReplicationController":
        spec["selector"] = labels
    else:
        spec["selector"] = {"matchLabels": labels}
    if kind == "StatefulSet":
        spec["serviceName"] = "a"
    if kind == "CronJob":
        spec = {
            "schedule": "0 0 * * *",
            "jobTemplate": {"metadata": {"annotations": job or {}}, "spec": spec},
        }
    metadata = {"name": "a", "annotations": top}
    return {"apiVersion": KINDS[kind], "kind": kind, "metadata": metadata, "spec": spec}


def warnings(rest: Rest, document: Object, namespace: str = "free") -> list[str]:
    reply = rest.create(document, namespace)
    assert reply.refused is None
    front = "Validation failed for ValidatingAdmissionPolicy 'thoughtgate-warnings' with binding "
    front += "'thoughtgate-warnings': "
    return [line.removeprefix(front) for line in reply.warnings if line.startswith(front)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_word_on_the_workload_is_warned_of(rest: Rest, kind: str) -> None:
    [said] = warnings(rest, workload(kind, INJECT, {}))
    assert said == (
        f"`thoughtgate.io/inject` stands on the {kind}, where it does nothing; it belongs to the "
        "metadata of the pod template"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_word_in_the_template_is_not(rest: Rest, kind: str) -> None:
    assert warnings(rest, workload(kind, {}, INJECT)) == []
    assert warnings(rest, workload(kind, INJECT, INJECT)) == []
    assert warnings(rest, workload(kind, {"example.com/x": "y"}, {})) == []


def test_the_word_on_a_cronjobs_jobs_is_warned_of(rest: Rest) -> None:
    [said] = warnings(rest, workload("CronJob", {}, {}, INJECT))
    assert "does nothing" in said


def test_an_option_or_a_label_on_the_workload_is_warned_of(rest: Rest) -> None:
    [said] = warnings(rest, workload("Deployment", {"thoughtgate.io/profile": "light"}, INJECT))
    assert "`thoughtgate.io/profile` stands on the Deployment" in said
    labelled = workload("Deployment", {}, {})
    labelled["metadata"]["labels"] = INJECT
    [said] = warnings(rest, labelled)
    assert "`thoughtgate.io/inject` stands on the Deployment" in said


@pytest.mark.parametrize("kind", KINDS)
def test_a_misspelt_key_is_warned_of_in_a_template_and_around_it(rest: Rest, kind: str) -> None:
    wrong = {"thoughtgate.io/injcet": "true"}
    for document in (workload(kind, {}, wrong), workload(kind, wrong, {})):
        [said] = warnings(rest, document)
        assert said.startswith("unknown `thoughtgate.io/injcet`, which does nothing; allowed: ")
        assert "thoughtgate.io/log-level" in said


@pytest.mark.parametrize("place", ["labels", "annotations"])
def test_a_misspelt_key_of_a_pod_is_warned_of(rest: Rest, place: str) -> None:
    """Such a pod reaches no webhook: nothing else would say a word."""
    metadata = {"name": "a", place: {"thoughtgate.io/injcet": "true"}}
    pod = {"metadata": metadata, "spec": {"containers": [{"name": "a", "image": "a"}]}}
    [said] = warnings(rest, pod)
    assert "unknown `thoughtgate.io/injcet`" in said


@pytest.mark.parametrize(
    "key",
    ["toughtgate.io/inject", "thought-gate.io/inject", "thoughtgate/inject", "ThoughtGate.io/x"],
)
def test_a_misspelt_domain_is_warned_of(rest: Rest, key: str) -> None:
    for document in (workload("CronJob", {}, {key: "true"}), workload("Job", {key: "true"}, {})):
        [said] = warnings(rest, document)
        assert said.startswith(f"`{key}` is no key of ThoughtGate and does nothing; ")
    others = {"linkerd.io/inject": "true", "sidecar.istio.io/inject": "true", "inject": "true"}
    assert warnings(rest, workload("Deployment", {}, others)) == []


def test_a_misspelt_word_of_a_template_is_warned_of_before_its_pods_are_refused(
    rest: Rest,
) -> None:
    [said] = warnings(rest, workload("Deployment", {}, {"thoughtgate.io/inject": "flase"}))
    assert "the pod will be refused" in said
    both = workload("Deployment", {}, INJECT)
    both["spec"]["template"]["metadata"]["labels"]["thoughtgate.io/inject"] = "false"
    [said] = warnings(rest, both)
    assert "says one thing as label and another as annotation" in said


def test_all_options_and_the_status_are_known(rest: Rest) -> None:
    names = (
        "profile config image cpu-request cpu-limit memory-request memory-limit "
        "exclude-containers native-sidecar log-level status"
    )
    template = INJECT | {f"thoughtgate.io/{name}": "x" for name in names.split()}
    assert warnings(rest, workload("Deployment", {}, template)) == []


def test_kubectl_shows_a_warning_and_applies(api_server: Cluster, rest: Rest) -> None:
    """Told on an update, too."""
    first = workload("Deployment", {}, INJECT)
    rest.create(first, "free", dry_run=False)
    first["metadata"]["annotations"] = {"thoughtgate.io/injcet": "true"}
    reply = rest.send("PUT", "/apis/apps/v1/namespaces/free/deployments/a?dryRun=All", first)
    assert any("unknown `thoughtgate.io/injcet`" in line for line in reply.warnings)
    api_server.kubectl("delete", "deployment", "a", "-n", "free")
