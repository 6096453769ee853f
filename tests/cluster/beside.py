"""ThoughtGate on an API server without a node: the injector is a process beside it.

It has the rights of its ServiceAccount and no others, and the API server finds it by the Service of
the manifests, whose address alone is another: so certificates and names are the real ones.
"""

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import kopf
import yaml
from kubernetes import client

from tests.cluster import control_plane, processes
from tests.cluster.cluster import Cluster
from tests.cluster.commands import CommandFailedError
from tests.cluster.install import MANIFESTS, NAMESPACE, settings
from thoughtgate_injector import log, settings_source
from thoughtgate_injector.app import Injector
from thoughtgate_injector.cluster import Cluster as InjectorsCluster
from thoughtgate_injector.core import names
from thoughtgate_injector.core.refusal import Refusal


class Beside:
    """A running injector; what it has written to its log."""

    def __init__(self, program: processes.Program) -> None:
        self._program = program

    def reviews(self) -> list[dict[str, Any]]:
        """Every review so far, as its log tells it."""
        lines = self._program.log.read_text().splitlines()
        told = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in told if line["message"] == "review"]


@contextmanager
def installed(
    cluster: Cluster, data: dict[str, str], *, components: tuple[str, ...] = ()
) -> Iterator[Beside]:
    """Apply the manifests with these settings, and run an injector until it has been trusted."""
    with tempfile.TemporaryDirectory(prefix="thoughtgate-beside-") as name:
        folder = Path(name)
        port = control_plane.free_port()
        apply(cluster, data, port, components)
        for key, text in cluster.json("get", "configmap", "-n", NAMESPACE, names.INJECTOR)[
            "data"
        ].items():
            (folder / "settings").mkdir(exist_ok=True)
            (folder / "settings" / key).write_text(text)
        token = cluster.kubectl("create", "token", names.INJECTOR, "-n", NAMESPACE)
        (folder / "token").write_text(token)
        access = cluster.json("config", "view", "--raw")["clusters"][0]["cluster"]
        command = [sys.executable, "-m", "tests.cluster.beside", access["server"]]
        command += [access["certificate-authority"], str(folder), str(port)]
        program = processes.start("injector", command, folder)
        try:
            pod = {
                "metadata": {
                    "generateName": "probe-",
                    "annotations": {"thoughtgate.io/inject": "no word"},
                },
                "spec": {"containers": [{"name": "a", "image": "a"}]},
            }
            ask = ("create", "--raw", "/api/v1/namespaces/default/pods?dryRun=All", "-f", "-")
            control_plane.wait(
                "the injector",
                lambda: "denied the request: annotation" in said(cluster, *ask, stdin=json.dumps(pod)),
                [program],
            )
            yield Beside(program)
        finally:
            program.process.terminate()
            program.process.wait(timeout=30)


def apply(
    cluster: Cluster, data: dict[str, str], port: int = 1, components: tuple[str, ...] = ()
) -> None:
    """Apply the manifests as an overlay would, with our address in the place of the pods'."""
    with tempfile.TemporaryDirectory(prefix="thoughtgate-overlay-") as folder:
        text = yaml.safe_dump(_overlay(Path(folder), data, port, components))
        (Path(folder) / "kustomization.yaml").write_text(text)
        cluster.kubectl("apply", "-k", folder)


def said(cluster: Cluster, *words: str, stdin: str | None = None) -> str:
    """What kubectl says, whether it fails or not."""
    try:
        return cluster.kubectl(*words, stdin=stdin)
    except CommandFailedError as error:
        return str(error)


def _overlay(
    folder: Path, data: dict[str, str], port: int, components: tuple[str, ...]
) -> dict[str, object]:
    manifests = "../" * (len(folder.resolve().parts) - 1) + str(MANIFESTS)[1:]
    address = {"type": "ExternalName", "externalName": "localhost", "selector": None, "ports": None}
    metadata = {"name": names.INJECTOR, "namespace": NAMESPACE}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": address}
    ports = [
        {"op": "replace", "path": f"/webhooks/{index}/clientConfig/service/port", "value": port}
        for index in range(3)
    ]
    return {
        "resources": [manifests],
        "components": [f"{manifests}/components/{component}" for component in components],
        "patches": [
            {"patch": yaml.safe_dump(settings(data))},
            {"patch": yaml.safe_dump(service)},
            {"target": {"kind": "MutatingWebhookConfiguration"}, "patch": yaml.safe_dump(ports)},
            {"target": {"kind": "Deployment"}, "patch": "- {op: add, path: /spec/replicas, value: 0}"},
        ],
        "transformers": [f"{manifests}/settings"],
    }


def main() -> int:
    """Run one replica until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m tests.cluster.beside", description=__doc__)
    parser.add_argument("server")
    parser.add_argument("authority")
    parser.add_argument("folder", type=Path)
    parser.add_argument("port", type=int)
    chosen = parser.parse_args()
    log.configure()
    found = settings_source.load(chosen.folder / "settings")
    if isinstance(found, Refusal):
        sys.stderr.write(f"{found}\n")
        return 1
    token = (chosen.folder / "token").read_text().strip()
    configuration = client.Configuration(
        host=chosen.server, api_key={"authorization": f"Bearer {token}"}
    )
    configuration.ssl_ca_cert = chosen.authority
    configuration.retries = 0
    injector = Injector(
        found,
        InjectorsCluster(client.ApiClient(configuration), NAMESPACE),
        lambda: kopf.ConnectionInfo(
            server=chosen.server, ca_path=chosen.authority, scheme="Bearer", token=token
        ),
        "0.1.0",
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
