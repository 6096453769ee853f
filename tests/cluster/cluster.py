"""The running cluster, as tests use it."""

import json
import os
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.cluster import binaries, exclusive, images, packages, report
from tests.cluster.api import administrators_tls
from tests.cluster.commands import ClusterUnavailableError, CommandFailedError, run
from tests.cluster.configuration import SYNC_FREQUENCY, Programs
from tests.cluster.images import Image
from tests.cluster.node import Node
from tests.cluster.run import API_SERVER, Run

Say = Callable[[str], None]


class Cluster:
    """A real Kubernetes of one node."""

    def __init__(self, the_run: Run, say: Say, node: Node | None = None) -> None:
        self._run = the_run
        self._node = node
        self._say = say
        self._loaded: set[str] = set()
        self._namespaces = 0

    @property
    def kubeconfig(self) -> Path:
        """The administrator's."""
        return self._run.kubeconfig

    @property
    def api_server(self) -> str:
        """Its URL."""
        return API_SERVER

    def tls(self) -> ssl.SSLContext:
        """What the administrator speaks to the API server with."""
        return administrators_tls(self._run)

    @property
    def programs(self) -> Path:
        """A folder with the `kubectl` of this version."""
        return self._run.kubectl.parent

    @property
    def component_logs(self) -> Path:
        """The folder of the logs of the node's programs."""
        return self._run.logs

    def kubectl(self, *words: str, stdin: str | None = None, limit: float = 120) -> str:
        """What kubectl prints; raises CommandFailedError with all that it said when it fails."""
        env = {
            "KUBECONFIG": str(self.kubeconfig),
            "KUBECACHEDIR": str(self._run.folder / "kubectl"),
        }
        return run(self._run.kubectl, *words, stdin=stdin, env=env, limit=limit)

    def json(self, *words: str) -> Any:
        """What `kubectl WORDS -o json` prints, decoded."""
        return json.loads(self.kubectl(*words, "-o", "json"))

    def apply(self, manifests: str | dict[str, Any], namespace: str = "default") -> str:
        """Applies manifests: text of YAML, or one object."""
        text = manifests if isinstance(manifests, str) else json.dumps(manifests)
        return self.kubectl("apply", "-n", namespace, "-f", "-", stdin=text)

    def wait(
        self, condition: str, what: str, namespace: str = "default", limit: float = 120
    ) -> None:
        """`kubectl wait --for CONDITION WHAT`, for instance `condition=Ready`, `pod/agent`."""
        words = ("wait", "-n", namespace, "--for", condition, f"--timeout={limit}s", what)
        self.kubectl(*words, limit=limit + 10)

    def wait_ready(self, pod: str, namespace: str = "default", limit: float = 120) -> None:
        """Waits for a pod, which has been created already, to be Ready."""
        self.wait("condition=Ready", f"pod/{pod}", namespace, limit)

    def exec(self, pod: str, *command: str, namespace: str = "default", container: str = "") -> str:
        """Runs a command in a pod's container: the default one, or the named one."""
        where = ["-c", container] if container else []
        return self.kubectl("exec", "-n", namespace, pod, *where, "--", *command)

    def logs(self, pod: str, namespace: str = "default", container: str = "") -> str:
        """A container's log: the pod's default container's, or the named one's."""
        where = ["-c", container] if container else []
        return self.kubectl("logs", "-n", namespace, pod, *where)

    @contextmanager
    def namespace(
        self, prefix: str = "test", labels: dict[str, str] | None = None
    ) -> Iterator[str]:
        """A new namespace, ready for pods; at the end its removal is begun, not awaited."""
        self._namespaces += 1
        name = f"{prefix}-{self._namespaces}"
        metadata = {"name": name, "labels": labels or {}}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        # Pods are refused before the controller has made it.
        self.wait("create", "serviceaccount/default", name)
        try:
            yield name
        except BaseException as error:  # pytest's own failures are no Exceptions
            if not isinstance(error, KeyboardInterrupt):
                error.add_note(report.text(self, name))
            raise
        finally:
            self.kubectl("delete", "namespace", name, "--wait=false")

    @contextmanager
    def default_sync_period(self) -> Iterator[None]:
        """While the kubelet looks at ConfigMaps as seldom as it does elsewhere."""
        node = self._node
        assert node is not None, "this cluster has no node"
        node.restart_kubelet(None)
        try:
            yield
        finally:
            node.restart_kubelet(SYNC_FREQUENCY)

    def load_image(self, image: Image) -> str:
        """Brings an image to the node, once; gives the name for pods (imagePullPolicy: Never)."""
        if image.name not in self._loaded:
            self._ctr("images", "import", image.archive, limit=300)
            self._loaded.add(image.name)
        return image.name

    def kill(self, pod: str, container: str, namespace: str = "default") -> None:
        """SIGKILL to the first process of a pod's native sidecar, as the kernel's own would be."""
        id = self._container(pod, container, namespace)
        self._ctr("tasks", "kill", "--signal", "SIGKILL", id)

    def pid(self, pod: str, container: str, namespace: str = "default") -> int:
        """The machine's number of the first process of a pod's native sidecar."""
        id = self._container(pod, container, namespace)
        tasks = (line.split() for line in self._ctr("tasks", "list").splitlines())
        return next(int(task[1]) for task in tasks if task[0] == id)

    def _container(self, pod: str, container: str, namespace: str) -> str:
        status = self.json("get", "pod", pod, "-n", namespace)["status"]
        (id,) = [
            str(each["containerID"]).removeprefix("containerd://")
            for each in status["initContainerStatuses"]
            if each["name"] == container
        ]
        return id

    def _ctr(self, *words: str | Path, limit: float = 120) -> str:
        ctr = ("ctr", "-a", self._run.containerd_socket, "-n", "k8s.io")
        return run(*ctr, *words, limit=limit)

    def project_image(self, program: str) -> str:
        """Builds and loads the image of `Dockerfile.PROGRAM`: `proxy` or `injector`."""
        return self.load_image(images.project(program, self._say))

    def base_image(self) -> str:
        """Loads the image with nothing but Debian and Python."""
        return self.load_image(images.base(self._say))


def check_possible() -> None:
    """Raises ClusterUnavailableError where this machine or user cannot run it."""
    if os.geteuid() != 0:
        raise ClusterUnavailableError("the real cluster needs root (network, mounts, cgroups)")
    if not Path("/sys/fs/cgroup").is_dir():
        raise ClusterUnavailableError("the real cluster needs Linux with cgroups")


def prepare(say: Say) -> Programs:
    """Everything slow that one cluster needs and the next one finds in the cache."""
    check_possible()
    packages.require(packages.TO_RUN, say)
    programs = Programs(binaries.node(say), binaries.dns(say))
    images.pause(say)
    images.base(say)
    return programs


@contextmanager
def running(say: Say) -> Iterator[Cluster]:
    """A cluster, taken down at the end together with all that it left on the machine."""
    programs = prepare(say)
    node = None
    try:
        with exclusive.new_run(say) as the_run:
            began = time.monotonic()
            node = Node(the_run, programs)
            cluster = Cluster(the_run, say, node)
            try:
                node.up(lambda: cluster.load_image(images.pause(say)))
            except CommandFailedError as error:
                error.add_note(report.text(cluster))
                raise
            say(f"cluster up in {time.monotonic() - began:.1f} s")
            yield cluster
    finally:
        if node:
            node.reap()


__all__ = [
    "Cluster",
    "ClusterUnavailableError",
    "CommandFailedError",
    "Image",
    "prepare",
    "running",
]
