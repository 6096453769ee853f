"""ThoughtGate in the cluster, installed as the README says, with the images built here."""

import os
import tempfile
from pathlib import Path

import yaml

from tests.cluster import images
from tests.cluster.cluster import Cluster

NAMESPACE = "thoughtgate-system"
MANIFESTS = images.ROOT / "manifests"


def install(cluster: Cluster) -> None:
    """Apply the manifests through an overlay that names our images; wait until they serve."""
    proxy, injector = cluster.project_image("proxy"), cluster.project_image("injector")
    with tempfile.TemporaryDirectory(prefix="thoughtgate-overlay-") as folder:
        (Path(folder) / "kustomization.yaml").write_text(
            yaml.safe_dump(overlay(Path(folder), proxy, injector))
        )
        cluster.kubectl("apply", "-k", folder)
    rollout = ("rollout", "status", "deployment", "-n", NAMESPACE, "--timeout=120s")
    cluster.kubectl(*rollout, limit=130)


def overlay(folder: Path, proxy: str, injector: str) -> dict[str, object]:
    """What somebody with a private registry would write."""
    name, tag = injector.rsplit(":", 1)
    settings = yaml.safe_load((MANIFESTS / "base" / "settings.yaml").read_text())
    ours = yaml.safe_load(settings["data"]["settings.yaml"])
    ours["sidecar"]["image"] = proxy
    return {
        "resources": [os.path.relpath(MANIFESTS, folder.resolve())],
        "images": [
            {"name": "ghcr.io/thoughtgate/thoughtgate-injector", "newName": name, "newTag": tag}
        ],
        "patches": [
            {
                "target": {"kind": "ConfigMap", "name": "thoughtgate-injector"},
                "patch": yaml.safe_dump(
                    [
                        {
                            "op": "replace",
                            "path": "/data/settings.yaml",
                            "value": yaml.safe_dump(ours),
                        }
                    ]
                ),
            }
        ],
    }
