"""Brings the node's programs up, each as soon as what it needs is there."""

import datetime as dt
import socket
import time
from collections.abc import Callable
from pathlib import Path

from tests.cluster import cgroups, configuration, mounts, network, pki, processes
from tests.cluster.api import Api, resolve
from tests.cluster.commands import CommandFailedError
from tests.cluster.run import DOMAIN, KUBERNETES_SERVICE_IP, NODE, NODE_IP, Run

LIMIT = 60.0  # seconds for each wait; the slowest takes some 5 on 2 cores


class Node:
    """The running programs."""

    def __init__(self, the_run: Run, programs: configuration.Programs) -> None:
        self.run = the_run
        self._commands = configuration.commands(the_run, programs)
        self._programs: dict[str, processes.Program] = {}

    def up(self, load_pause: Callable[[], object]) -> None:
        """Everything, until pods can be created and their names and Services work.

        `load_pause` is called when containerd answers and before a pod can be wanted.
        """
        for folder in (self.run.logs, self.run.configuration, self.run.kubectl.parent):
            folder.mkdir()
        self.run.kubectl.symlink_to(self._commands["kubelet"][0])
        overlay = mounts.carries_overlay(self.run.folder)
        configuration.write(self.run, "overlayfs" if overlay else "native")
        network.load_modules()
        network.check_free()
        network.make()
        cgroups.make(self.run.name)
        pki.write(self.run, dt.datetime.now(dt.UTC))
        api = Api(self.run)

        self._start("etcd")
        self._start("containerd")
        self.wait("etcd's socket", (self.run.folder / "etcd.sock").exists)
        self._start("kube-apiserver")
        self.wait("containerd's socket", lambda: _listens(self.run.containerd_socket))
        load_pause()
        self.wait("the API server", lambda: api.get("/readyz") is not None)
        for name in ("kubelet", "kube-controller-manager", "kube-scheduler", "kube-proxy", "dns"):
            self._start(name)
        self._wait_until_usable(api)

    def _wait_until_usable(self, api: Api) -> None:
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        self.wait("the node to be Ready", lambda: _is_ready(api.get_json(f"/api/v1/nodes/{NODE}")))
        self.wait("the default ServiceAccount", lambda: api.get(account) is not None)
        self.wait(
            "kube-proxy: the API server by its Service's address",
            lambda: api.get("/readyz", KUBERNETES_SERVICE_IP, 443) is not None,
        )
        self.wait(
            "the cluster's DNS to know the API server",
            lambda: resolve(f"kubernetes.default.svc.{DOMAIN}", NODE_IP) == KUBERNETES_SERVICE_IP,
        )

    def _start(self, name: str) -> None:
        self._programs[name] = processes.start(name, self._commands[name], self.run.logs)

    def restart_kubelet(self, sync_frequency: str | None) -> None:
        """The kubelet anew, with another period of synchronisation; pods go on meanwhile."""
        process = self._programs["kubelet"].process
        process.kill()
        process.wait(timeout=60)
        configuration.write_kubelet(self.run, sync_frequency)
        self._start("kubelet")
        self.wait("the kubelet", lambda: Api(self.run).get("/pods", port=10250) is not None)

    def wait(self, what: str, is_there: Callable[[], bool], limit: float = LIMIT) -> None:
        """Waits for a condition; a program that ends meanwhile ends the wait."""
        deadline = time.monotonic() + limit
        while not is_there():
            for program in self._programs.values():
                program.check()
            if time.monotonic() > deadline:
                raise CommandFailedError(f"waited {limit:.0f} s for {what}, in vain")
            time.sleep(0.05)

    def reap(self) -> None:
        """Takes note of the ends of our own processes, after the traces' removal killed them."""
        for program in self._programs.values():
            program.process.wait(timeout=60)


def _is_ready(node: object) -> bool:
    """Ready, and without the taint that keeps pods away from a node until it is."""
    if not isinstance(node, dict):
        return False
    conditions = {c["type"]: c["status"] for c in node["status"].get("conditions", [])}
    return conditions.get("Ready") == "True" and not node["spec"].get("taints")


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
        return link.connect_ex(str(path)) == 0
