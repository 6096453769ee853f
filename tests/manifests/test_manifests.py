"""The manifests say what the code says, and give no right that it does not need."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from thoughtgate_injector.core import names, options, resources, settings, sidecar
from thoughtgate_injector.core.settings import Settings
from thoughtgate_injector.core.verdict import Entry
from thoughtgate_injector.webhook import config_check

MANIFESTS = Path(__file__).parents[2] / "manifests"
Object = dict[str, Any]


def objects() -> list[Object]:
    found = []
    kustomization = yaml.safe_load((MANIFESTS / "base/kustomization.yaml").read_text())
    for resource in kustomization["resources"]:
        found += list(yaml.safe_load_all((MANIFESTS / "base" / resource).read_text()))
    return found


def one(kind: str, name: str | None = None) -> Object:
    """The only one of its kind; of those that the watchdog has too, the injector's."""
    found = [each for each in objects() if each["kind"] == kind]
    if len(found) > 1:
        found = [each for each in found if each["metadata"]["name"] == (name or names.INJECTOR)]
    assert len(found) == 1
    return found[0]


WEBHOOKS: list[Object] = one("MutatingWebhookConfiguration")["webhooks"]


def test_each_entry_of_the_webhook_calls_our_service_at_its_own_path() -> None:
    service = one("Service")
    assert [webhook["clientConfig"] for webhook in WEBHOOKS] == [
        {
            "service": {
                "name": service["metadata"]["name"],
                "namespace": names.NAMESPACE,
                "port": service["spec"]["ports"][0]["port"],
                "path": names.PATH_PREFIX + entry.value,
            }
        }
        for entry in Entry
    ]
    assert service["metadata"]["name"] == names.INJECTOR


@pytest.mark.parametrize("webhook", WEBHOOKS, ids=lambda webhook: str(webhook["name"]))
def test_a_webhook_fails_closed_quickly_on_new_pods_only(webhook: Object) -> None:
    assert webhook["failurePolicy"] == "Fail"
    assert webhook["timeoutSeconds"] <= 5
    assert webhook["sideEffects"] == "None"
    assert webhook["reinvocationPolicy"] == "IfNeeded"
    assert webhook["rules"] == [
        {
            "apiGroups": [""],
            "apiVersions": ["v1"],
            "resources": ["pods"],
            "operations": ["CREATE"],
            "scope": "Namespaced",
        }
    ]
    assert webhook["namespaceSelector"]["matchExpressions"][0] == {
        "key": "kubernetes.io/metadata.name",
        "operator": "NotIn",
        "values": list(names.EXCLUDED_NAMESPACES),
    }
    text = " ".join(condition["expression"] for condition in webhook["matchConditions"])
    assert names.INJECT in text
    assert names.MIRROR_POD in text
    assert "system:nodes" in text
    # A pod without annotations has no such field: what is not optional fails for every pod.
    assert "metadata.annotations" not in text
    assert "metadata.labels" not in text


def test_the_namespaces_words_are_those_of_the_contract() -> None:
    selectors = [webhook["namespaceSelector"]["matchExpressions"][1:] for webhook in WEBHOOKS]
    assert selectors == [
        [],
        [{"key": names.INJECT, "operator": "In", "values": ["enabled", "true", "required"]}],
        [{"key": names.INJECT, "operator": "In", "values": ["required"]}],
    ]


def test_configmaps_are_checked_by_their_label_quickly_and_failing_open() -> None:
    [webhook] = one("ValidatingWebhookConfiguration")["webhooks"]
    assert webhook["failurePolicy"] == "Ignore"
    assert config_check.LIMIT < webhook["timeoutSeconds"] <= 5
    assert webhook["sideEffects"] == "None"
    assert webhook["objectSelector"] == {"matchLabels": {names.CONFIG_LABEL: "true"}}
    assert webhook["rules"][0]["operations"] == ["CREATE", "UPDATE"]
    assert webhook["rules"][0]["resources"] == ["configmaps"]
    assert webhook["namespaceSelector"] == {
        "matchExpressions": WEBHOOKS[0]["namespaceSelector"]["matchExpressions"]
    }
    service = WEBHOOKS[0]["clientConfig"]["service"]
    assert webhook["clientConfig"] == {"service": {**service, "path": names.CONFIG_PATH}}


def test_the_policies_have_the_words_of_the_code() -> None:
    """That they mean the same is tried on a real API server: tests/cluster/test_policy.py."""
    policies = {
        each["metadata"]["name"]: str(each["spec"])
        for each in objects()
        if each["kind"] == "ValidatingAdmissionPolicy"
    }
    judge = policies["thoughtgate-sidecar"]
    for text in (judge, policies["thoughtgate-warnings"]):
        assert [name for name in options.NAMES if f"'{name}'" not in text] == []
    rows = {profile.value: row for profile, row in resources.PROFILES.items()}
    for name, row in rows.items():
        cpu = f"'cpu': ['{row.cpu_request}', '{row.cpu_limit}']"
        memory = f"'memory': ['{row.memory_request}', '{row.memory_limit}']"
        assert f"'{name}': {{{cpu}, {memory}}}" in judge
    known = (*sidecar.VOLUMES, *settings.SIDECAR_ENV, *names.LOG_LEVELS, names.CONFIG_FILE)
    for word in known:
        assert f"'{word}'" in judge, word
    for text in (judge, policies["thoughtgate-frozen"], policies["thoughtgate-exec"]):
        assert str(list(names.EXCLUDED_NAMESPACES)) in text
    condition = WEBHOOKS[0]["matchConditions"][0]
    assert f"[{condition}]" in judge


def test_the_service_reaches_the_deployments_pods() -> None:
    service, template = one("Service"), one("Deployment")["spec"]["template"]
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    ports = {
        port["name"]: port["containerPort"] for port in template["spec"]["containers"][0]["ports"]
    }
    assert ports == {"webhook": names.WEBHOOK_PORT, "health": names.HEALTH_PORT}
    assert service["spec"]["ports"][0]["targetPort"] == "webhook"
    assert template["metadata"]["annotations"]["prometheus.io/port"] == str(names.HEALTH_PORT)


def test_the_shipped_settings_are_the_defaults_and_lie_where_they_are_read() -> None:
    config = one("ConfigMap")
    assert config["metadata"]["name"] == names.INJECTOR
    assert settings.read(config["data"]) == Settings()
    spec = one("Deployment")["spec"]["template"]["spec"]
    mount = spec["containers"][0]["volumeMounts"][0]
    assert mount["mountPath"] == names.SETTINGS_DIR
    assert spec["volumes"][0] == {"name": mount["name"], "configMap": {"name": names.INJECTOR}}


def test_the_rights_are_the_least() -> None:
    rules = [
        (each["kind"], rule["resources"], rule.get("resourceNames"), rule["verbs"])
        for each in objects()
        if each["kind"] in {"Role", "ClusterRole"}
        for rule in each["rules"]
    ]
    assert rules == [
        ("Role", ["secrets"], None, ["create"]),
        ("Role", ["secrets"], [names.CA_SECRET], ["get", "patch"]),
        (
            "ClusterRole",
            ["mutatingwebhookconfigurations", "validatingwebhookconfigurations"],
            [names.INJECTOR],
            ["get", "patch"],
        ),
        ("ClusterRole", ["namespaces", "pods"], None, ["list", "watch"]),
        ("ClusterRole", ["events"], None, ["create"]),
        ("ClusterRole", ["mutatingwebhookconfigurations"], [names.INJECTOR], ["get"]),
    ]


def test_the_watchdog_is_one_with_the_injectors_image_settings_and_restrictions() -> None:
    deployment, injector = one("Deployment", names.WATCHDOG), one("Deployment")
    assert (deployment["spec"]["replicas"], deployment["spec"]["strategy"]["type"]) == (
        1,
        "Recreate",
    )
    pod, other = (each["spec"]["template"]["spec"] for each in (deployment, injector))
    container, other_container = pod["containers"][0], other["containers"][0]
    assert container["args"] == ["watch"]
    for key in ("image", "securityContext"):
        assert container[key] == other_container[key]
    assert pod["securityContext"] == other["securityContext"]
    assert container["volumeMounts"][0] == other_container["volumeMounts"][0]
    assert pod["serviceAccountName"] == names.WATCHDOG
    annotations, others = (
        each["spec"]["template"]["metadata"]["annotations"] for each in (deployment, injector)
    )
    assert annotations == others


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
def test_the_watchdog_evicts_only_with_the_component_that_gives_it_the_right(
    tmp_path: Path,
) -> None:
    manifests = os.path.relpath(MANIFESTS, tmp_path.resolve())
    (tmp_path / "kustomization.yaml").write_text(
        yaml.safe_dump({"resources": [manifests], "components": [f"{manifests}/components/evict"]})
    )
    rendered = subprocess.run(
        ["kubectl", "kustomize", str(tmp_path)], capture_output=True, check=True, timeout=60
    ).stdout
    found = {
        (each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(rendered)
    }
    deployment = found["Deployment", names.WATCHDOG]
    arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert arguments == ["watch", "--evict=missing"]
    assert found["ClusterRole", names.WATCHDOG]["rules"][-1] == {
        "apiGroups": [""],
        "resources": ["pods/eviction"],
        "verbs": ["create"],
    }


def test_the_deployment_is_restricted_and_never_has_fewer_replicas() -> None:
    deployment = one("Deployment")
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    pod = deployment["spec"]["template"]["spec"]
    assert pod["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": names.UID,
        "runAsGroup": names.UID,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    assert pod["containers"][0]["securityContext"] == {
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    labels = one("Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="needs kubectl")
def test_kustomize_renders_all_objects() -> None:
    rendered = subprocess.run(
        ["kubectl", "kustomize", str(MANIFESTS)], capture_output=True, check=True, timeout=60
    ).stdout
    kinds = sorted(each["kind"] for each in yaml.safe_load_all(rendered))
    assert kinds == sorted(each["kind"] for each in objects())
