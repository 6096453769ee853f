"""ThoughtGate in the cluster, installed as the README says, with the images built here."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import yaml

from tests.cluster import images
from tests.cluster.cluster import Cluster

NAMESPACE = "thoughtgate-system"
MANIFESTS = images.ROOT / "manifests"
SLACK = "http://slack.slack:8080"
"""Where `tests.cluster.slack` serves; every sidecar is told of it, by the operator's settings."""


def install(cluster: Cluster, *components: str, arguments: Sequence[str] = ()) -> None:
    """Apply the manifests through an overlay that names our images; wait until they serve.

    `arguments` are more of the watchdog's.
    """
    proxy, injector = cluster.project_image("proxy"), cluster.project_image("injector")
    with tempfile.TemporaryDirectory(prefix="thoughtgate-overlay-") as folder:
        (Path(folder) / "kustomization.yaml").write_text(
            yaml.safe_dump(overlay(Path(folder), proxy, injector, components, arguments))
        )
        cluster.kubectl("apply", "-k", folder)
    rollout = ("rollout", "status", "deployment", "-n", NAMESPACE, "--timeout=120s")
    cluster.kubectl(*rollout, limit=130)


def overlay(
    folder: Path,
    proxy: str,
    injector: str,
    components: Sequence[str] = (),
    arguments: Sequence[str] = (),
) -> dict[str, object]:
    """What somebody with a private registry would write."""
    name, tag = injector.rsplit(":", 1)
    env = {"sidecar.env": f"THOUGHTGATE_SLACK_API_URL={SLACK}/api/\n"}
    manifests = os.path.relpath(MANIFESTS, folder.resolve())
    return {
        "resources": [manifests],
        "images": [
            {"name": "ghcr.io/thoughtgate/thoughtgate-injector", "newName": name, "newTag": tag}
        ],
        "components": [f"{manifests}/components/{component}" for component in components],
        "patches": [
            {"patch": yaml.safe_dump(settings({"sidecar.images": proxy, **env}))},
            *(_argument(each) for each in arguments),
        ],
        "transformers": [f"{manifests}/settings"],
    }


def _argument(argument: str) -> dict[str, object]:
    path = "/spec/template/spec/containers/0/args/-"
    return {
        "target": {"kind": "Deployment", "name": "thoughtgate-watchdog"},
        "patch": yaml.safe_dump([{"op": "add", "path": path, "value": argument}]),
    }


def settings(data: dict[str, str]) -> dict[str, object]:
    """A patch of the operator's settings."""
    metadata = {"name": "thoughtgate-injector", "namespace": NAMESPACE}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
