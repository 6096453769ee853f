"""The API server without a node: for tests that create pods and never run them.

It listens on loopback, on a port of its own, and touches nothing else of the machine: several may
run at once, beside the cluster, and without root.
"""

import datetime as dt
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from examples.demo.processes import free_port
from tests.cluster import binaries, pki, processes
from tests.cluster.api import Api
from tests.cluster.cluster import Cluster
from tests.cluster.commands import CommandFailedError
from tests.cluster.run import LONGEST_PARENT, Run

HOST = "127.0.0.1"
SERVICES = "10.97.0.0/16"
_LIMIT = 60.0  # seconds for the start, of which some 8 are needed on 2 cores

Say = Callable[[str], None]


@contextmanager
def running(say: Say) -> Iterator[Cluster]:
    """etcd, the API server and the controllers; of a Cluster's methods, those that need no node."""
    node = binaries.node(say)
    parent = tempfile.gettempdir()
    short = parent if len(parent) <= LONGEST_PARENT else "/tmp"
    with tempfile.TemporaryDirectory(prefix="thoughtgate-api-", dir=short) as folder:
        port = free_port()
        run = Run(Path(folder), f"https://{HOST}:{port}")
        for path in (run.logs, run.kubectl.parent):
            path.mkdir()
        run.kubectl.symlink_to(node)
        pki.write(run, dt.datetime.now(dt.UTC))
        started: list[processes.Program] = []
        try:
            commands, api = _commands(run, node, port), Api(run)
            account = "/api/v1/namespaces/default/serviceaccounts/default"
            # Each when what it needs is there: the controllers wait ten seconds and give up.
            for name, awaited, is_there in (
                ("etcd", "etcd's socket", (run.folder / "etcd.sock").exists),
                ("kube-apiserver", "the API server", lambda: _answers(api, "/readyz", port)),
                ("kube-controller-manager", "an account", lambda: _answers(api, account, port)),
            ):
                started.append(processes.start(name, commands[name], run.logs))
                wait(awaited, is_there, started)
            yield Cluster(run, say)
        finally:
            processes.kill([each.process.pid for each in started])
            for each in started:
                each.process.wait(timeout=60)


def _answers(api: Api, path: str, port: int) -> bool:
    return api.get(path, HOST, port) is not None


def _commands(run: Run, program: Path, port: int) -> dict[str, list[str]]:
    node, keys = str(program), run.pki
    return {
        "etcd": [
            node, "etcd", f"--data-dir={run.folder}/etcd", "--unsafe-no-fsync",
            f"--listen-client-urls=unix://{run.folder}/etcd.sock",
            "--advertise-client-urls=http://unused:2379",
            f"--listen-peer-urls=unix://{run.folder}/peer.sock",
            "--enable-grpc-gateway=false", "--log-level=warn",
        ],
        "kube-apiserver": [
            node, "kube-apiserver", f"--etcd-servers=unix://{run.folder}/etcd.sock",
            f"--bind-address={HOST}", f"--secure-port={port}",
            # Not loopback: the endpoint of the Service `kubernetes`, which nobody uses, must do.
            "--advertise-address=192.0.2.1",
            f"--service-cluster-ip-range={SERVICES}",
            "--authorization-mode=Node,RBAC", "--allow-privileged=true",
            f"--client-ca-file={keys}/ca.crt",
            f"--tls-cert-file={keys}/apiserver.crt",
            f"--tls-private-key-file={keys}/apiserver.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={keys}/service-accounts.key",
            f"--service-account-signing-key-file={keys}/service-accounts.key",
        ],
        "kube-controller-manager": [
            node, "kube-controller-manager", "--secure-port=0",
            f"--kubeconfig={keys}/kube-controller-manager.kubeconfig",
            "--leader-elect=false", "--use-service-account-credentials=true",
            f"--root-ca-file={keys}/ca.crt",
            f"--service-account-private-key-file={keys}/service-accounts.key",
            "--kube-api-qps=200", "--kube-api-burst=400",
        ],
    }  # fmt: skip


def wait(what: str, is_there: Callable[[], bool], started: list[processes.Program]) -> None:
    """Waits for a condition; a program that ends meanwhile ends the wait."""
    deadline = time.monotonic() + _LIMIT
    while not is_there():
        for program in started:
            program.check()
        if time.monotonic() > deadline:
            raise CommandFailedError(f"waited {_LIMIT:.0f} s for {what}, in vain")
        time.sleep(0.05)
