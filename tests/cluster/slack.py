"""The fake Slack as a pod of its own, served by the project's own image."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.cluster.cluster import Cluster
from tests.cluster.images import ROOT
from tests.cluster.install import SLACK

NAMESPACE = "slack"
_PYTHON = "/opt/thoughtgate/bin/python"
_FAKES = ROOT / "tests" / "harness"
_SERVE = ["-m", "tests.harness.slack", "--port", "8080"]


class Slack:
    """The workspace, driven through the pod's own command."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def control(self, what: str, **given: Any) -> Any:
        """What `python -m tests.harness.slack control` answers."""
        command = (_PYTHON, *_SERVE, "control", what, json.dumps(given))
        return json.loads(self._cluster.exec("slack", *command, namespace=NAMESPACE))

    def messages(self, text: str) -> list[dict[str, Any]]:
        """The channel's messages in which `text` stands, oldest first."""
        return [post for post in self.control("messages") if text in json.dumps(post)]

    def react(self, post: dict[str, Any], emoji: str, user: str = "U0ALICE") -> None:
        """As a person does."""
        self.control("react", user=user, name=emoji, ts=post["ts"])


@contextmanager
def running(cluster: Cluster) -> Iterator[Slack]:
    """Serve at `install.SLACK` until the block ends."""
    sources = {file.name: file.read_text() for file in sorted((_FAKES / "slack").glob("*.py"))}
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "slack"},
        "data": sources,
    }
    empty = [
        {"key": "__init__.py", "path": f"tests/{where}__init__.py"} for where in ("", "harness/")
    ]
    items = empty + [{"key": name, "path": f"tests/harness/slack/{name}"} for name in sources]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "slack", "labels": {"app": "slack"}},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [
                {
                    "name": "slack",
                    "image": cluster.project_image("proxy"),
                    "imagePullPolicy": "Never",
                    "command": [_PYTHON, *_SERVE, "--url", SLACK],
                    "env": [{"name": "PYTHONPATH", "value": "/fake"}],
                    "readinessProbe": {"tcpSocket": {"port": 8080}, "periodSeconds": 1},
                    "volumeMounts": [{"name": "slack", "mountPath": "/fake"}],
                }
            ],
            "volumes": [{"name": "slack", "configMap": {"name": "slack", "items": items}}],
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "slack"},
        "spec": {"selector": {"app": "slack"}, "ports": [{"port": 8080}]},
    }
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
    cluster.apply(namespace)
    cluster.wait("create", "serviceaccount/default", NAMESPACE)
    try:
        for each in (config, pod, service):
            cluster.apply(each, NAMESPACE)
        cluster.wait_ready("slack", NAMESPACE)
        yield Slack(cluster)
    finally:
        cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")
