"""A second mutating webhook in the cluster, which inserts a sidecar as a service mesh does."""

import base64
import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cluster import replicas
from tests.cluster.cluster import Cluster
from thoughtgate_injector.tls import certificates

_SCRIPT = Path(__file__).parent / "pods" / "mesh.py"


NAME = "mesh"


@dataclass(frozen=True)
class Mesh:
    """A running webhook that no configuration names yet."""

    cluster: Cluster
    namespace: str
    bundle: bytes

    @contextmanager
    def configured(self, name: str) -> Iterator[None]:
        """Asked about pods with this name in the annotation `mesh.example.com/inject`.

        The name decides the order: the API server asks webhooks by their configurations' names.
        """
        self.cluster.apply(_webhook(name, self.namespace, self.bundle))
        try:
            yield
        finally:
            self.cluster.kubectl("delete", "mutatingwebhookconfiguration", name)


def reviews_of_ours(cluster: Cluster) -> Counter[str]:
    """How many reviews of ours had which outcome so far, over all replicas."""
    counted: Counter[str] = Counter()
    for replica in replicas.ready(cluster):
        found = re.findall(
            r'^thoughtgate_injector_reviews_total\{.*outcome="(\w+)"\} (\S+)$',
            replica.metrics(cluster),
            re.MULTILINE,
        )
        counted.update({outcome: int(float(number)) for outcome, number in found})
    return counted


@contextmanager
def running(cluster: Cluster, image: str) -> Iterator[Mesh]:
    """A mesh's webhook in a namespace of its own; the image is any with Python."""
    with cluster.namespace(NAME) as namespace:
        authority = certificates.new_authority(replicas.now())
        host = f"{NAME}.{namespace}.svc"
        leaf = certificates.new_leaf(authority, [host], replicas.now())
        files = {"mesh.py": _SCRIPT.read_text(), "leaf.pem": leaf.pem.decode()}
        for each in _objects(image, files):
            cluster.apply(each, namespace)
        cluster.wait_ready(NAME, namespace)
        yield Mesh(cluster, namespace, authority.pem())


def _objects(image: str, files: dict[str, str]) -> list[dict[str, Any]]:
    labels, metadata = {"app": NAME}, {"name": NAME}
    container = {
        "name": "webhook",
        "image": image,
        "imagePullPolicy": "Never",
        "command": ["python3", "/mesh/mesh.py", "/mesh/leaf.pem", image],
        "readinessProbe": {"tcpSocket": {"port": 8443}, "periodSeconds": 1},
        "volumeMounts": [{"name": "files", "mountPath": "/mesh"}],
    }
    spec = {
        "terminationGracePeriodSeconds": 0,
        "containers": [container],
        "volumes": [{"name": "files", "configMap": {"name": NAME}}],
    }
    ports = [{"port": 443, "targetPort": 8443}]
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": files},
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": metadata,
            "spec": {"selector": labels, "ports": ports},
        },
        {"apiVersion": "v1", "kind": "Pod", "metadata": {**metadata, "labels": labels},
         "spec": spec},
    ]  # fmt: skip


def _webhook(name: str, namespace: str, bundle: bytes) -> dict[str, Any]:
    asks = f"object.metadata.?annotations[?'mesh.example.com/inject'].orValue('') == '{name}'"
    rule = {
        "apiGroups": [""],
        "apiVersions": ["v1"],
        "resources": ["pods"],
        "operations": ["CREATE"],
    }
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [
            {
                "name": "mesh.example.com",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "reinvocationPolicy": "IfNeeded",
                "clientConfig": {
                    "service": {"name": NAME, "namespace": namespace},
                    "caBundle": base64.b64encode(bundle).decode(),
                },
                "rules": [rule],
                "matchConditions": [{"name": "asks", "expression": asks}],
            }
        ],
    }
