"""What is added to a pod: the container `thoughtgate` and its volumes.

Source: `injection.md`, "What is added"; probes and ports from the reference document.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from thoughtgate_injector.core import names
from thoughtgate_injector.core.resources import Share


@dataclass(frozen=True, slots=True)
class Sidecar:
    """Everything that differs between the sidecars of two pods."""

    image: str
    config_map: str
    grace_seconds: int
    share: Share
    native: bool
    proxy_port_name: str
    admin_port_name: str
    log_level: str | None
    env: Mapping[str, str]


# Pod Security "restricted", and more: read-only root, and one uid that needs no passwd entry.
SECURITY_CONTEXT: Final = {
    "runAsNonRoot": True,
    "runAsUser": names.UID,
    "runAsGroup": names.UID,
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
MOUNTS: Final = (
    (names.CONFIG_VOLUME, names.CONFIG_DIR, True),
    (names.PODINFO_VOLUME, names.PODINFO_DIR, True),
    (names.SECRETS_VOLUME, names.SECRETS_DIR, True),
    (names.STATE_VOLUME, names.STATE_DIR, False),
    # Without it the API server mounts the pod's token into our container, after us.
    (names.NOTOKEN_VOLUME, names.TOKEN_DIR, True),
)
VOLUMES: Final = tuple(name for name, _, _ in MOUNTS)


def container(sidecar: Sidecar) -> dict[str, Any]:
    """Give the container as it is written into the pod.

    No command and no arguments: the image's own entrypoint runs.
    """
    port = sidecar.admin_port_name
    return {
        "name": names.CONTAINER,
        "image": sidecar.image,
        "imagePullPolicy": "IfNotPresent",
        **({"restartPolicy": "Always"} if sidecar.native else {}),
        "ports": [
            {"name": name, "containerPort": port, "protocol": "TCP"}
            for name, port in (
                (sidecar.proxy_port_name, names.PROXY_PORT),
                (sidecar.admin_port_name, names.ADMIN_PORT),
            )
        ],
        "env": _env(sidecar),
        "resources": {"requests": sidecar.share.requests(), "limits": sidecar.share.limits()},
        "securityContext": copy.deepcopy(SECURITY_CONTEXT),
        # The agent starts once this passes; otherwise its first call would meet a closed port.
        "startupProbe": _probe(names.READY_PATH, port, periodSeconds=1, failureThreshold=120),
        "livenessProbe": _probe(names.HEALTH_PATH, port, periodSeconds=10, timeoutSeconds=5),
        "readinessProbe": _probe(names.READY_PATH, port, periodSeconds=5, timeoutSeconds=5),
        "volumeMounts": [
            {"name": name, "mountPath": path, **({"readOnly": True} if read_only else {})}
            for name, path, read_only in MOUNTS
        ],
        # Where it cannot start, `kubectl describe` shows the last lines of its log.
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def volumes(config_map: str) -> dict[str, dict[str, Any]]:
    """Give the pod's new volumes by their names."""
    found = (
        # Required: if it is missing the kubelet's event says so by name.
        {"name": names.CONFIG_VOLUME, "configMap": {"name": config_map}},
        {
            "name": names.PODINFO_VOLUME,
            "downwardAPI": {"items": [_item(names.LABELS_ITEM, "metadata.labels")]},
        },
        {
            "name": names.SECRETS_VOLUME,
            "secret": {"secretName": names.SECRET, "optional": True},
        },
        # Holds pending approvals over a container's restart.
        {"name": names.STATE_VOLUME, "emptyDir": {"sizeLimit": names.STATE_SIZE}},
        {"name": names.NOTOKEN_VOLUME, "emptyDir": {}},
    )
    return {str(volume["name"]): volume for volume in found}


def _env(sidecar: Sidecar) -> list[dict[str, Any]]:
    fixed: list[dict[str, Any]] = [
        {"name": names.ENV_CONFIG, "value": names.CONFIG_FILE},
        {"name": names.ENV_GRACE, "value": str(sidecar.grace_seconds)},
        # Always: the kubelet gives `THOUGHTGATE_ADMIN_PORT` to every container beside a Service
        # named `thoughtgate-admin`, with a value such as `tcp://10.0.0.1:80`.
        {"name": names.ENV_OUTBOUND_PORT, "value": str(names.PROXY_PORT)},
        {"name": names.ENV_INBOUND_PORT, "value": str(names.INBOUND_PORT)},
        {"name": names.ENV_ADMIN_PORT, "value": str(names.ADMIN_PORT)},
        {
            "name": names.ENV_SLACK_TOKEN,
            "valueFrom": {
                "secretKeyRef": {
                    "name": names.SECRET,
                    "key": names.SLACK_TOKEN_KEY,
                    "optional": True,
                }
            },
        },
        _field(names.ENV_POD_NAME, "metadata.name"),
        _field(names.ENV_POD_NAMESPACE, "metadata.namespace"),
        _field(names.ENV_POD_UID, "metadata.uid"),
    ]
    if sidecar.log_level is not None:
        fixed.append({"name": names.ENV_LOG_LEVEL, "value": sidecar.log_level})
    return fixed + [{"name": name, "value": sidecar.env[name]} for name in sorted(sidecar.env)]


def _probe(path: str, port: str, **timing: int) -> dict[str, Any]:
    return {"httpGet": {"path": path, "port": port}, **timing}


def _field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def _item(path: str, field: str) -> dict[str, Any]:
    return {"path": path, "fieldRef": {"fieldPath": field}}
