"""The parts of the main job: an MCP server, an agent's pod, and what the agent asks."""

import json
from typing import Any

import yaml

from tests.cluster.cluster import Cluster
from tests.cluster.images import ROOT

SIDECAR = "thoughtgate"
WAIT = ["python3", "-c", "import signal; signal.pause()"]


def server(image: str) -> str:
    """The MCP server as Deployment and Service `mcp-server`, on port 3000 at `/`."""
    container = {
        "name": "server",
        "image": image,
        "imagePullPolicy": "Never",
        "command": ["python", "/server.py", "3000", "0.0.0.0"],
        "readinessProbe": {"tcpSocket": {"port": 3000}, "periodSeconds": 1},
    }
    labels = {"app": "mcp-server"}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "mcp-server"},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "mcp-server"},
        "spec": {"selector": labels, "ports": [{"port": 3000}]},
    }
    return yaml.safe_dump_all([deployment, service])


def pod(
    name: str, image: str, labels: dict[str, str], inject: str | None = "true"
) -> dict[str, Any]:
    """An agent's pod: the example's, with another name, image and labels."""
    made: dict[str, Any] = yaml.safe_load((ROOT / "examples" / "pod.yaml").read_text())
    made["metadata"] |= {"name": name, "labels": labels}
    if inject is None:
        del made["metadata"]["annotations"]
    else:
        made["metadata"]["annotations"]["thoughtgate.io/inject"] = inject
    agent = made["spec"]["containers"][0]
    agent |= {"image": image, "imagePullPolicy": "Never", "command": WAIT}
    # The kernel's own refusal of SIGTERM to pid 1 must not cost each test the grace period.
    made["spec"]["terminationGracePeriodSeconds"] = 2
    return made


def ask(cluster: Cluster, name: str, namespace: str, *calls: tuple[str, dict[str, Any]]) -> Any:
    """The agent's calls, from within its container: the answers in order."""
    printed = cluster.exec(name, "python", "/agent.py", json.dumps(calls), namespace=namespace)
    return [json.loads(line) for line in printed.splitlines()]
