"""The operator's settings, changed in one place; closed and open; on a real API server."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster import beside
from tests.cluster.cluster import Cluster
from tests.cluster.install import MANIFESTS, settings
from tests.cluster.rest import Rest
from tests.injector.core.test_sidecar_diff import injected, ours

Object = dict[str, Any]
OLD = "ghcr.io/thoughtgate/thoughtgate-proxy:v0.1.0"
NEW = "ghcr.io/thoughtgate/thoughtgate-proxy:v0.2.0"
DENYING = [
    "thoughtgate-sidecar",
    "thoughtgate-frozen",
    "thoughtgate-exec",
    "thoughtgate-namespaces",
]


@pytest.fixture
def rest(api_server: Cluster) -> Iterator[Rest]:
    beside.namespaces(api_server)
    rest = Rest(api_server)
    yield rest
    rest.close()


def rendered(
    cluster: Cluster, folder: Path, data: dict[str, str], *components: str
) -> dict[tuple[str, str], Object]:
    """What kubectl's own kustomize makes of an overlay; by kind and name."""
    manifests = os.path.relpath(MANIFESTS, folder.resolve())
    overlay: Object = {
        "resources": [manifests],
        "components": [f"{manifests}/components/{component}" for component in components],
        "patches": [{"patch": yaml.safe_dump(settings(data))}],
        "transformers": [f"{manifests}/settings"],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
    objects = yaml.safe_load_all(cluster.kubectl("kustomize", str(folder)))
    return {(each["kind"], each["metadata"]["name"]): each for each in objects}


def test_one_place_changes_the_injector_the_policy_and_the_deployment(
    api_server: Cluster, tmp_path: Path
) -> None:
    data = {
        "sidecar.images": f"{NEW}\n{OLD}\n",
        "sidecar.env": "NO_PROXY=a'b\\c\nHTTPS_PROXY=http://p:1\n",
        "options.allowed": "config image",
    }
    found = rendered(api_server, tmp_path, data)
    assert found["ConfigMap", "thoughtgate-injector"]["data"] == data
    template = found["Deployment", "thoughtgate-injector"]["spec"]["template"]
    written = {
        key.removeprefix("settings.thoughtgate.io/"): value
        for key, value in template["metadata"]["annotations"].items()
        if key.startswith("settings.thoughtgate.io/")
    }
    assert written == data
    policy = found["ValidatingAdmissionPolicy", "thoughtgate-sidecar"]["spec"]
    variables = {one["name"]: one["expression"] for one in policy["variables"]}
    for name, key in (
        ("images", "sidecar.images"),
        ("env", "sidecar.env"),
        ("allowed", "options.allowed"),
    ):
        assert variables[name].split("'''")[1] == data[key]


def test_cluster_wide_objects_have_no_namespace(api_server: Cluster, tmp_path: Path) -> None:
    """kustomize does not know that policies have none, and would write one."""
    for (kind, _), each in rendered(api_server, tmp_path, {}).items():
        clusterwide = kind.startswith(("Validating", "Mutating", "Cluster")) or kind == "Namespace"
        expected = None if clusterwide else "thoughtgate-system"
        assert each["metadata"].get("namespace") == expected, kind


def test_the_base_is_closed_and_open_is_open_in_both_places(
    api_server: Cluster, tmp_path: Path
) -> None:
    for components, failure, actions in (
        ((), "Fail", ["Deny"]),
        (("open",), "Ignore", ["Warn", "Audit"]),
        (("ha", "open"), "Ignore", ["Warn", "Audit"]),
    ):
        found = rendered(api_server, tmp_path, {}, *components)
        webhooks = found["MutatingWebhookConfiguration", "thoughtgate-injector"]["webhooks"]
        assert [one["failurePolicy"] for one in webhooks] == [failure] * 3
        for name in DENYING:
            binding = found["ValidatingAdmissionPolicyBinding", name]["spec"]
            assert binding["validationActions"] == actions
        warnings = found["ValidatingAdmissionPolicyBinding", "thoughtgate-warnings"]["spec"]
        assert warnings["validationActions"] == ["Warn"]


def test_open_lets_a_pod_in_and_says_what_is_wrong_with_it(api_server: Cluster, rest: Rest) -> None:
    decoy = injected()
    ours(decoy)["image"] = "evil"
    bare = injected()
    del bare["spec"]["initContainers"]
    beside.policies(api_server, {}, "open")
    try:
        for pod, words in ((decoy, "has the image `evil`"), (bare, "and has none")):
            reply = rest.create(pod, "free")
            assert reply.refused is None
            assert any(words in line for line in reply.warnings), reply.warnings
    finally:
        beside.policies(api_server, {})
    assert "has the image `evil`" in str(rest.create(decoy, "free").refused)


def test_a_rolling_upgrade_of_the_sidecars_image_is_refused_at_no_step(
    api_server: Cluster, rest: Rest
) -> None:
    """Old and new replicas answer side by side, and manifests with the old sidecar come back."""
    asked: Object = {
        "metadata": {"name": "agent", "annotations": {"thoughtgate.io/inject": "true"}},
        "spec": {"containers": [{"name": "agent", "image": "a"}]},
    }
    upgraded = {"sidecar.images": f"{NEW}\n{OLD}"}
    with beside.installed(api_server, {"sidecar.images": OLD}):
        made = rest.create(asked, "free").object
        assert made["spec"]["initContainers"][0]["image"] == OLD
    # The policies are there first, while an old replica still injects.
    with beside.installed(api_server, {"sidecar.images": OLD}, policy=upgraded):
        assert rest.create(asked, "free").refused is None
    with beside.installed(api_server, upgraded):
        assert rest.create(asked, "free").object["spec"]["initContainers"][0]["image"] == NEW
        restored = {"metadata": asked["metadata"], "spec": made["spec"]}
        found = rest.create(restored, "free").object["spec"]["initContainers"]
        assert [one["image"] for one in found] == [OLD]
    with beside.installed(api_server, {"sidecar.images": NEW}):
        assert "is not exactly the injected one" in str(rest.create(restored, "free").refused)


def test_the_policies_have_no_mistake_of_type(api_server: Cluster) -> None:
    """The controller manager checks them against Kubernetes's own schemas."""
    beside.policies(api_server, {})
    names = [*DENYING, "thoughtgate-warnings"]
    for name in names:
        api_server.wait("jsonpath={.status.typeChecking}", f"validatingadmissionpolicy/{name}")
        status = api_server.json("get", "validatingadmissionpolicy", name)["status"]
        assert status["typeChecking"] == {}, name


def test_the_network_policy_is_accepted(api_server: Cluster) -> None:
    """More cannot be shown here: neither this server nor the tests' bridge enforces one."""
    beside.policies(api_server, {})
    words = ("get", "networkpolicy", "thoughtgate-injector", "-n", "thoughtgate-system")
    spec = api_server.json(*words)["spec"]
    assert spec["policyTypes"] == ["Ingress"]
    assert [rule["ports"][0]["port"] for rule in spec["ingress"]] == ["webhook", "health"]
