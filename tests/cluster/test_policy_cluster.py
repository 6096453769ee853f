"""A gated pod on a real node against those who want into it, with kubectl as they have it."""

import json
from collections.abc import Iterator

import pytest

from tests.cluster.cluster import Cluster, CommandFailedError
from tests.cluster.images import ROOT
from tests.cluster.install import NAMESPACE, install
from tests.cluster.main_job import WAIT, pod
from tests.injector.replica import review

AGENT = "my-agent"
FORGE = """
import json, ssl, sys, urllib.request
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
url = "https://thoughtgate-injector.thoughtgate-system.svc/inject/pod"
request = urllib.request.Request(url, sys.argv[1].encode())
print(urllib.request.urlopen(request, context=context).read().decode())
"""


@pytest.fixture(scope="module")
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace with one gated agent, Ready."""
    install(cluster)
    with cluster.namespace("attacked") as name:
        cluster.apply((ROOT / "examples" / "config.yaml").read_text(), name)
        labels = {"app": "my-agent", "team": "support"}
        cluster.apply(pod(AGENT, cluster.base_image(), labels), name)
        cluster.wait_ready(AGENT, name)
        yield name


def refused(cluster: Cluster, *words: str) -> str:
    with pytest.raises(CommandFailedError) as error:
        cluster.kubectl(*words)
    return str(error.value)


def test_exec_and_attach_land_in_the_agent_and_never_in_the_sidecar(
    cluster: Cluster, namespace: str
) -> None:
    command = cluster.exec(AGENT, "cat", "/proc/1/cmdline", namespace=namespace)
    assert command.split("\0")[:2] == WAIT[:2]
    for verb in (
        ("exec", AGENT, "-c", "thoughtgate", "--", "sh"),
        ("attach", AGENT, "-c=thoughtgate"),
    ):
        words = (*verb[:1], "-n", namespace, *verb[1:])
        assert "nobody goes into the container `thoughtgate`" in refused(cluster, *words)


def test_no_debugger_goes_into_the_sidecar(cluster: Cluster, namespace: str) -> None:
    debug = ("debug", AGENT, "-n", namespace, f"--image={cluster.base_image()}", "--attach=false")
    assert "an ephemeral container may neither" in refused(cluster, *debug, "--target=thoughtgate")
    cluster.kubectl(*debug, "--target=agent", "--image-pull-policy=Never")


def test_the_labels_that_the_sidecar_reads_stay(cluster: Cluster, namespace: str) -> None:
    where = ("-n", namespace)
    label = ("label", "pod", AGENT, "--overwrite", "team=data-engineering", *where)
    assert "are its identity and cannot be changed" in refused(cluster, *label)
    annotate = ("annotate", "pod", AGENT, "thoughtgate.io/inject-", *where)
    assert "cannot be changed" in refused(cluster, *annotate)
    image = ("set", "image", f"pod/{AGENT}", "thoughtgate=evil", *where)
    assert "the container `thoughtgate` of a pod cannot be changed" in refused(cluster, *image)
    cluster.kubectl("label", "pod", AGENT, "-n", namespace, "other=x")


def test_a_forged_review_from_a_pod_gains_nothing(cluster: Cluster, namespace: str) -> None:
    """The Service is open to pods where no network policy is enforced, as here."""
    pods = cluster.json("get", "pods", "-n", NAMESPACE)["items"]
    made = {
        "metadata": {"annotations": {"thoughtgate.io/inject": "true"}},
        "spec": {"containers": []},
    }
    forged = json.dumps(review(made, namespace=NAMESPACE))
    answer = json.loads(cluster.exec(AGENT, "python3", "-c", FORGE, forged, namespace=namespace))
    assert set(answer["response"]) <= {"uid", "allowed", "patch", "patchType", "warnings"}
    after = cluster.json("get", "pods", "-n", NAMESPACE)["items"]
    assert [one["metadata"]["uid"] for one in after] == [one["metadata"]["uid"] for one in pods]


def test_our_own_pods_run_where_pod_security_is_restricted(
    cluster: Cluster, namespace: str
) -> None:
    labels = cluster.json("get", "namespace", NAMESPACE)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    pods = cluster.json("get", "pods", "-n", NAMESPACE)["items"]
    assert {one["status"]["phase"] for one in pods} == {"Running"}, namespace
