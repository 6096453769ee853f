"""The main job on a real node: an annotated pod is gated, by the labels of the pod."""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest

from tests.cluster.cluster import Cluster, CommandFailedError
from tests.cluster.images import ROOT
from tests.cluster.install import install
from tests.cluster.main_job import SIDECAR, ask, pod, server

# Nobody goes into the sidecar: what it says of itself is open to the agent.
READY = """
from urllib.request import urlopen
print(urlopen('http://localhost:7469/ready').read().decode())
"""


@pytest.fixture(scope="module")
def namespace(cluster: Cluster, mcp_image: str) -> Iterator[str]:
    """A namespace with the reference document's ConfigMap, Secret and server."""
    install(cluster)
    with cluster.namespace("agents") as name:
        cluster.apply((ROOT / "examples" / "config.yaml").read_text(), name)
        secret = ("create", "secret", "generic", "thoughtgate-secrets", "-n", name)
        cluster.kubectl(*secret, "--from-literal=slack-token=xoxb-your-token")
        cluster.apply(server(mcp_image), name)
        cluster.wait("condition=Available", "deployment/mcp-server", name)
        yield name


@pytest.fixture(scope="module")
def agent(cluster: Cluster, namespace: str, mcp_image: str) -> str:
    """The reference document's agent, Ready."""
    labels = {"app": "my-agent", "team": "data-engineering"}
    began = time.monotonic()
    cluster.apply(pod("my-agent", mcp_image, labels), namespace)
    cluster.wait_ready("my-agent", namespace)
    print(f"from apply to Ready: {time.monotonic() - began:.1f} s")
    return "my-agent"


@pytest.fixture(scope="module")
def helpdesk(cluster: Cluster, namespace: str, mcp_image: str) -> str:
    """An agent of others, with the smallest sidecar there is: it must be enough. Ready."""
    manifest = pod("helpdesk", mcp_image, {"app": "helpdesk", "team": "support"})
    manifest["metadata"]["annotations"]["thoughtgate.io/profile"] = "light"
    cluster.apply(manifest, namespace)
    cluster.wait_ready("helpdesk", namespace)
    return "helpdesk"


@pytest.fixture(scope="module")
def answers(
    cluster: Cluster, namespace: str, agent: str, helpdesk: str
) -> Iterator[dict[str, Future[Any]]]:
    """What each agent will be told. Nobody can be reached to approve, and that takes 20 s."""
    user, transfer = ("get_user", {"user_id": 7}), ("transfer_funds", {"amount": 5, "to": "Bob"})
    calls: dict[str, list[tuple[str, dict[str, Any]]]] = {
        agent: [user, ("admin_reset", {}), transfer, ("delete_user", {"user_id": 7})],
        helpdesk: [user, transfer],
    }
    with ThreadPoolExecutor() as threads:
        yield {n: threads.submit(ask, cluster, n, namespace, *of) for n, of in calls.items()}


@pytest.mark.usefixtures("answers")  # they are waited for while the other tests run
def test_the_sidecar_is_there_and_ready(cluster: Cluster, namespace: str, agent: str) -> None:
    found = cluster.json("get", "pod", agent, "-n", namespace)
    sidecar, *others = found["spec"]["initContainers"]
    status = found["status"]["initContainerStatuses"][0]
    assert (sidecar["name"], sidecar["restartPolicy"], others) == ("thoughtgate", "Always", [])
    assert status["ready"], status
    assert status["restartCount"] == 0


def test_each_decision_is_a_line_of_the_sidecars_log(
    cluster: Cluster, namespace: str, agent: str
) -> None:
    ask(cluster, agent, namespace, ("admin_reset", {}))
    lines = cluster.logs(agent, namespace, SIDECAR).splitlines()
    decided = [line for line in map(json.loads, lines) if line["message"] == "decision"]
    decision = [line for line in decided if line["name"] == "admin_reset"][-1]
    assert decision["principal"] == "data-engineering/my-agent"
    assert (decision["namespace"], decision["pod"]) == (namespace, agent)
    assert decision["outcome"] == "deny"


def test_a_pod_without_the_annotation_is_untouched(
    cluster: Cluster, namespace: str, mcp_image: str
) -> None:
    cluster.apply(pod("bystander", mcp_image, {"app": "bystander"}, inject=None), namespace)
    found = cluster.json("get", "pod", "bystander", "-n", namespace)
    assert "initContainers" not in found["spec"]
    assert "env" not in found["spec"]["containers"][0]
    assert (
        "annotations" not in found["metadata"]
        or "thoughtgate.io/status" not in (found["metadata"]["annotations"])
    )
    assert [volume["name"][:4] for volume in found["spec"]["volumes"]] == ["kube"]


def test_a_misspelt_word_is_refused_with_words(
    cluster: Cluster, namespace: str, mcp_image: str
) -> None:
    with pytest.raises(CommandFailedError, match=r"`flase`.*`true`.*`false`"):
        cluster.apply(pod("misspelt", mcp_image, {"app": "misspelt"}, inject="flase"), namespace)


def test_a_pod_applied_twice_is_not_patched_twice(
    cluster: Cluster, namespace: str, mcp_image: str
) -> None:
    manifest = pod("twice", mcp_image, {"app": "twice"})
    cluster.apply(manifest, namespace)
    once = cluster.json("get", "pod", "twice", "-n", namespace)
    assert "unchanged" in cluster.apply(manifest, namespace)
    # What the API server has now, created again: as a restored backup would.
    cluster.kubectl("delete", "pod", "twice", "-n", namespace, "--wait=true")
    again = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {key: once["metadata"][key] for key in ("name", "labels", "annotations")},
        "spec": {key: value for key, value in once["spec"].items() if key != "nodeName"},
    }
    cluster.apply(again, namespace)
    twice = cluster.json("get", "pod", "twice", "-n", namespace)
    for key in ("initContainers", "containers", "volumes"):
        assert twice["spec"][key] == once["spec"][key], key
    names = [container["name"] for container in twice["spec"]["initContainers"]]
    assert names == ["thoughtgate"]


def test_only_a_kubelets_mirror_pods_are_left_alone(
    cluster: Cluster, namespace: str, mcp_image: str
) -> None:
    mirror = pod("mirror", mcp_image, {"app": "mirror"})
    mirror["metadata"]["annotations"]["kubernetes.io/config.mirror"] = "hash"
    mirror["spec"]["nodeName"] = "thoughtgate"
    dry_run = ("create", "-n", namespace, "--dry-run=server", "-o", "json", "-f", "-")
    # Anybody else's is injected, and then the API server refuses it for the sidecar's Secret.
    with pytest.raises(CommandFailedError, match="a mirror pod may not reference secrets"):
        cluster.kubectl(*dry_run, stdin=json.dumps(mirror))
    kubelet = ("--as", "system:node:thoughtgate", "--as-group", "system:nodes")
    mirror["spec"]["automountServiceAccountToken"] = False
    shown = cluster.kubectl(*dry_run, *kubelet, stdin=json.dumps(mirror))
    assert "initContainers" not in json.loads(shown)["spec"]


def test_calls_are_decided_by_rule_and_by_the_pods_labels(answers: dict[str, Future[Any]]) -> None:
    user, reset, transfer, delete = answers["my-agent"].result()
    assert (user["is_error"], user["text"]) == (False, "user 7: Ada")
    assert reset["is_error"]
    assert "`admin_*` (`governance.rules[2]`) denies it" in reset["text"]
    assert (transfer["is_error"], transfer["text"]) == (False, "5 sent to Bob")
    assert delete["is_error"]
    assert "the approvers cannot be reached" in delete["text"]


def test_another_pod_may_not_transfer(
    cluster: Cluster, namespace: str, helpdesk: str, answers: dict[str, Future[Any]]
) -> None:
    user, transfer = answers[helpdesk].result()
    assert not user["is_error"]
    assert transfer["is_error"]
    assert "needs a human's approval" in transfer["text"]
    found = cluster.json("get", "pod", helpdesk, "-n", namespace)["status"]
    assert found["initContainerStatuses"][0]["restartCount"] == 0


def test_a_changed_configmap_comes_into_force_and_a_bad_one_does_not(
    cluster: Cluster, namespace: str, agent: str
) -> None:
    text = (ROOT / "examples" / "config.yaml").read_text()

    def resets() -> bool:
        return not ask(cluster, agent, namespace, ("admin_reset", {}))[0]["is_error"]

    def ready() -> dict[str, Any]:
        said: dict[str, Any] = json.loads(
            cluster.exec(agent, "python3", "-c", READY, namespace=namespace)
        )
        return said

    def refused() -> bool:
        return any("schema" in mistake for mistake in ready().get("refused_config", []))

    assert not resets()
    first = ready()["config"]
    cluster.apply(text.replace("action: deny", "action: forward"), namespace)
    until(lambda: ready()["config"] != first, "the kubelet's swap and the reload")
    assert resets()
    # Without its label, or `kubectl apply` would be refused.
    unchecked = text.replace('thoughtgate.io/config: "true"', 'unchecked: "true"')
    cluster.kubectl(
        "label", "configmap/thoughtgate-config", "thoughtgate.io/config-", "-n", namespace
    )
    cluster.apply(unchecked.replace("schema: 1", "schema: 2"), namespace)
    until(refused, "the refusal of a bad configuration")
    assert resets(), "the last good one stays in force"
    cluster.apply(text, namespace)
    until(lambda: ready()["config"] == first, "the first configuration again")
    assert not resets()


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for what needs the kubelet's next look at a ConfigMap, which can take over a minute."""
    limit = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < limit, f"waited in vain for {what}"
        time.sleep(0.5)  # the pace of asking
