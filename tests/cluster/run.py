"""One run of the cluster: its names, its addresses and its folder.

Everything binds to the bridge's own address, so the usual ports cannot collide with programs that
listen on loopback or on the machine's addresses.
"""

from dataclasses import dataclass
from pathlib import Path

NODE = "thoughtgate"  # the node's name
BRIDGE = "thoughtgate0"  # also the name of the CNI network
NODE_IP = "10.244.0.1"
POD_CIDR = "10.244.0.0/24"
SERVICE_CIDR = "10.96.0.0/16"
KUBERNETES_SERVICE_IP = "10.96.0.1"  # the API server takes the range's first address
DOMAIN = "cluster.local"
API_SERVER = f"https://{NODE_IP}:6443"

# A UNIX socket's path has 107 bytes at most; our longest adds 66 to the temporary folder's.
LONGEST_PARENT = 40


@dataclass(frozen=True)
class Run:
    """A run's folder, unique by its random name, and what lies where in it."""

    folder: Path
    api_server: str = API_SERVER

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def pki(self) -> Path:
        return self.folder / "pki"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def configuration(self) -> Path:
        return self.folder / "configuration"

    @property
    def containerd_socket(self) -> Path:
        return self.folder / "containerd.sock"

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    @property
    def kubectl(self) -> Path:
        return self.folder / "bin" / "kubectl"

    @property
    def cgroup(self) -> str:
        """Below the root of every cgroup hierarchy; all pods are below it."""
        return f"/{self.name}"
