"""ThoughtGate on an API server without a node: the injector is a process beside it.

It has the rights of its ServiceAccount and no others, and the API server finds it by the Service of
the manifests, whose address alone is another: so certificates and names are the real ones.
"""

import argparse
import asyncio
import itertools
import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from kubernetes.aio.client import Configuration

from examples.demo.processes import free_port
from tests.cluster import control_plane, processes
from tests.cluster.cluster import Cluster
from tests.cluster.install import MANIFESTS, NAMESPACE, settings
from tests.cluster.rest import Reply, Rest
from tests.injector.core.test_sidecar_diff import injected
from thoughtgate_injector import log, settings_file
from thoughtgate_injector.app import Injector
from thoughtgate_injector.core import names
from thoughtgate_injector.core.refusal import Refusal
from thoughtgate_injector.kube.client import client

_MARKERS = itertools.count()


# What the label of a namespace demands -> the namespace.
NAMESPACES = {None: "free", "enabled": "enabled", "true": "is-true", "required": "required"}


class Beside:
    """A running injector; what it has written to its log."""

    def __init__(self, cluster: Cluster, program: processes.Program) -> None:
        self.cluster = cluster
        self._program = program

    def reviews(self) -> list[dict[str, Any]]:
        """Every review so far, as its log tells it."""
        lines = self._program.log.read_text().splitlines()
        told = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in told if line["message"] == "review"]


@contextmanager
def installed(
    cluster: Cluster, data: dict[str, str], policy: dict[str, str] | None = None
) -> Iterator[Beside]:
    """Apply the manifests with these settings, and run an injector until it is trusted.

    `policy`: settings that the policies know already, and this injector does not.
    """
    policies(cluster, data if policy is None else policy)
    with tempfile.TemporaryDirectory(prefix="thoughtgate-beside-") as name:
        folder, port = Path(name), free_port()
        (folder / "settings").mkdir()
        config_map = cluster.json("get", "configmap", "-n", NAMESPACE, names.INJECTOR)
        for key, text in data.items():
            (folder / "settings" / key).write_text(text)
        token = cluster.kubectl("create", "token", names.INJECTOR, "-n", NAMESPACE)
        (folder / "token").write_text(token)
        _apply(cluster, config_map["data"], _at(port))
        access = cluster.json("config", "view", "--raw")["clusters"][0]["cluster"]
        command = [sys.executable, "-m", "tests.cluster.beside", access["server"]]
        command += [access["certificate-authority"], name, str(port)]
        program = processes.start("injector", command, folder)
        rest = Rest(cluster)
        try:
            control_plane.wait(
                "the injector's own words",
                lambda: "denied the request: annotation" in str(_asked(rest, "no word").refused),
                [program],
            )
            yield Beside(cluster, program)
        finally:
            rest.close()
            program.process.terminate()
            program.process.wait(timeout=60)
            _delete_webhooks(cluster)


def namespaces(cluster: Cluster) -> None:
    """One namespace for each demand; they end with the API server."""
    for demand, name in NAMESPACES.items():
        labels = {names.INJECT: demand} if demand else {}
        metadata = {"name": name, "labels": labels}
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        cluster.wait("create", "serviceaccount/default", name)


def policies(cluster: Cluster, data: dict[str, str], component: str = "") -> None:
    """Apply the manifests without their webhooks, and wait until the policies are in force."""
    marker = f"localhost/marker:{next(_MARKERS)}"
    images = data.get("sidecar.images", names.SIDECAR_IMAGE)
    _apply(cluster, data | {"sidecar.images": f"{images}\n{marker}"}, [], component)
    _delete_webhooks(cluster)
    rest = Rest(cluster)

    def in_force() -> bool:
        reply = _asked(rest, "true")
        # Both the policy and its binding, of which the API server hears one after the other.
        return marker in str(reply.warnings if component == "open" else reply.refused)

    try:
        # It looks for changes each second; what it says of the pod lists the images.
        control_plane.wait("these policies", in_force, [])
    finally:
        rest.close()


def _asked(rest: Rest, word: str) -> Reply:
    """The API server's reply to a pod with this word and a sidecar of no known image."""
    pod = injected()
    pod["metadata"] |= {"name": "probe", "annotations": {names.INJECT: word}}
    pod["spec"]["initContainers"][0]["image"] = "x"
    return rest.create(pod, "default")


def _delete_webhooks(cluster: Cluster) -> None:
    kinds = "mutatingwebhookconfiguration,validatingwebhookconfiguration"
    cluster.kubectl("delete", kinds, names.INJECTOR, "--ignore-not-found")


def _apply(
    cluster: Cluster, data: dict[str, str], patches: list[dict[str, object]], component: str = ""
) -> None:
    with tempfile.TemporaryDirectory(prefix="thoughtgate-overlay-") as folder:
        manifests = os.path.relpath(MANIFESTS, Path(folder).resolve())
        nobody = "- {op: add, path: /spec/replicas, value: 0}"
        overlay = {
            "resources": [manifests],
            "components": [f"{manifests}/components/{component}"] if component else [],
            "patches": [
                {"patch": yaml.safe_dump(settings(data))},
                {"target": {"kind": "Deployment"}, "patch": nobody},
                *patches,
            ],
            "transformers": [f"{manifests}/settings"],
        }
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(overlay))
        # As quickly as can be: the tests on the node apply it as users do.
        quickly = ("--server-side", "--force-conflicts", "--validate=false")
        cluster.kubectl("apply", "-k", folder, *quickly)


def _at(port: int) -> list[dict[str, object]]:
    """Patches that let the API server find the Service on this machine."""
    metadata = {"name": names.INJECTOR, "namespace": NAMESPACE}
    spec = {"type": "ExternalName", "externalName": "localhost", "selector": None, "ports": None}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}
    patches: list[dict[str, object]] = [{"patch": yaml.safe_dump(service)}]
    entries_of = {"MutatingWebhookConfiguration": 3, "ValidatingWebhookConfiguration": 1}
    for kind, entries in entries_of.items():
        operations = [
            {"op": "replace", "path": f"/webhooks/{entry}/clientConfig/service/port", "value": port}
            for entry in range(entries)
        ]
        patches.append({"target": {"kind": kind}, "patch": yaml.safe_dump(operations)})
    return patches


def main() -> int:
    """Run one replica until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.beside", description=__doc__)
    parser.add_argument("server")
    parser.add_argument("authority")
    parser.add_argument("folder", type=Path)
    parser.add_argument("port", type=int)
    chosen = parser.parse_args()
    log.configure()
    found = settings_file.load(chosen.folder / "settings")
    if isinstance(found, Refusal):
        sys.stderr.write(f"{found}\n")
        return 1
    token = (chosen.folder / "token").read_text().strip()
    configuration = Configuration(host=chosen.server, api_key={"BearerToken": f"Bearer {token}"})
    configuration.ssl_ca_cert = chosen.authority
    injector = Injector(
        found,
        client(configuration),
        NAMESPACE,
        "0.2.0",
        host="127.0.0.1",
        port=chosen.port,
        health_port=0,
        drain=0.0,
    )
    asyncio.run(_operate(injector))
    return 0


async def _operate(injector: Injector) -> None:
    await injector.operate(asyncio.Event())


if __name__ == "__main__":
    sys.exit(main())
