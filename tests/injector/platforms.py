"""Webhooks of platforms that change every container, emulated: what each leaves of a pod.

Each takes the pod's own words for leaving a container out, where the product has such words.
"""

from collections.abc import Callable, Collection, Iterator
from typing import Any

Pod = dict[str, Any]


def _containers(pod: Pod, skipped: Collection[str] = ()) -> Iterator[Pod]:
    for group in ("initContainers", "containers"):
        for container in pod["spec"].get(group) or ():
            if container["name"] not in skipped:
                yield container


def _words(pod: Pod, key: str, separator: str) -> set[str]:
    text = pod["metadata"].get("annotations", {}).get(key, "")
    return {word.strip() for word in text.split(separator)}


def _variables(container: Pod, **values: str) -> None:
    there = container.setdefault("env", [])
    known = {one["name"] for one in there}
    there += [{"name": name, "value": values[name]} for name in values if name not in known]


def _mount(pod: Pod, container: Pod, name: str, path: str) -> None:
    volumes = pod["spec"].setdefault("volumes", [])
    if all(one["name"] != name for one in volumes):
        volumes.append({"name": name, "emptyDir": {"medium": "Memory"}})
    mounts = container.setdefault("volumeMounts", [])
    if all(one["mountPath"] != path for one in mounts):
        mounts.append({"name": name, "mountPath": path})


def eks(pod: Pod) -> None:
    """Amazon EKS pod identity webhook (IRSA)."""
    for container in _containers(pod, _words(pod, "eks.amazonaws.com/skip-containers", ",")):
        _variables(container, AWS_ROLE_ARN="arn:aws:iam::1:role/r")
        path = "/var/run/secrets/eks.amazonaws.com/serviceaccount"
        _mount(pod, container, "aws-iam-token", path)


def azure(pod: Pod) -> None:
    """Azure workload identity."""
    for container in _containers(pod, _words(pod, "azure.workload.identity/skip-containers", ";")):
        _variables(container, AZURE_CLIENT_ID="x")
        _mount(pod, container, "azure-identity-token", "/var/run/secrets/azure/tokens")


def datadog(pod: Pod) -> None:
    """Datadog's admission controller, which leaves a pod out by its label."""
    if pod["metadata"].get("labels", {}).get("admission.datadoghq.com/enabled") != "false":
        for container in _containers(pod):
            _variables(container, DD_AGENT_HOST="10.0.0.1")


def vault(pod: Pod) -> None:
    """vault-k8s, which injects a pod once, into all containers or those that it is told."""
    annotations = pod["metadata"].setdefault("annotations", {})
    if annotations.get("vault.hashicorp.com/agent-inject-status") == "injected":
        return
    annotations["vault.hashicorp.com/agent-inject-status"] = "injected"
    only = _words(pod, "vault.hashicorp.com/agent-inject-containers", ",") - {""}
    for container in _containers(pod):
        if not only or container["name"] in only:
            _mount(pod, container, "vault-secrets", "/vault/secrets")


def kyverno(pod: Pod) -> None:
    """A Kyverno policy that writes digests into images."""
    for container in _containers(pod):
        if "@" not in container["image"]:
            container["image"] += DIGEST


def mirror(pod: Pod) -> None:
    """A registry's mirror in front of every image."""
    for container in _containers(pod):
        if not container["image"].startswith(MIRROR):
            container["image"] = MIRROR + container["image"]


def guaranteed(pod: Pod) -> None:
    """Limits become requests, as on clusters that are paid by request."""
    for container in _containers(pod):
        amounts = container.get("resources", {}).get("requests") or {"cpu": "500m", "memory": "2Gi"}
        container["resources"] = {"requests": dict(amounts), "limits": dict(amounts)}


def unprivileged(pod: Pod) -> None:
    """`privileged: false` said aloud."""
    for container in _containers(pod):
        container.setdefault("securityContext", {}).setdefault("privileged", False)


def forgetful(pod: Pod) -> None:
    """A webhook of an old client library, which drops the fields that it does not know."""
    for container in pod["spec"].get("initContainers") or ():
        container.pop("restartPolicy", None)


DIGEST = "@sha256:" + "a" * 64
MIRROR = "mirror.example/"
PLATFORMS: dict[str, Callable[[Pod], None]] = {
    one.__name__: one
    for one in (
        eks, azure, datadog, vault, kyverno, mirror, guaranteed, unprivileged, forgetful
    )
}  # fmt: skip
