"""What each program of the node is told: configuration files and command lines."""

import json
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.packages import CNI_PLUGINS
from tests.cluster.run import BRIDGE, DOMAIN, NODE, NODE_IP, POD_CIDR, SERVICE_CIDR, Run

# A changed ConfigMap reaches its file in a few seconds, not in a minute.
SYNC_FREQUENCY = "2s"
PAUSE_IMAGE = "localhost/thoughtgate-pause:test"


@dataclass(frozen=True)
class Programs:
    """The binaries that we build."""

    node: Path
    dns: Path


def write(run: Run, snapshotter: str) -> None:
    """All configuration files of the run."""
    files = {
        "containerd.toml": _containerd(run, snapshotter),
        "cni/10-thoughtgate.conflist": json.dumps(_cni(run)),
        "kubelet.json": json.dumps(_kubelet(run)),
        "kube-proxy.json": json.dumps(_kube_proxy(run)),
        "Corefile": _corefile(run),
        "resolv.conf": "# Pods ask the cluster's DNS; the node's own servers are none of theirs.\n",
    }
    for name, text in files.items():
        file = run.configuration / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def write_kubelet(run: Run, sync_frequency: str | None) -> None:
    """The kubelet's alone; None is its own default of a minute."""
    told = _kubelet(run)
    if sync_frequency is None:
        del told["syncFrequency"]
    else:
        told["syncFrequency"] = sync_frequency
    (run.configuration / "kubelet.json").write_text(json.dumps(told))


def _containerd(run: Run, snapshotter: str) -> str:
    # restrict_oom_score_adj: without CAP_SYS_RESOURCE runc cannot lower an OOM score, and no
    # container starts ("can't get final child's PID from pipe: EOF").
    # netns_mounts_under_state_dir: so that all our mounts are below the run folder.
    return f"""\
version = 2
root = "{run.folder}/containerd"
state = "{run.folder}/state"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing",
]
[grpc]
  address = "{run.containerd_socket}"
[plugins."io.containerd.internal.v1.opt"]
  path = "{run.folder}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PLUGINS}"
    conf_dir = "{run.configuration}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter}"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        Root = "{run.folder}/runc"
        SystemdCgroup = false
"""


def _cni(run: Run) -> dict[str, object]:
    # No ipMasq: pods reach each other, Services and this machine, and nothing beyond it.
    bridge = {
        "type": "bridge",
        "bridge": BRIDGE,
        "isGateway": True,
        "hairpinMode": True,
        "ipam": {
            "type": "host-local",
            "dataDir": f"{run.folder}/addresses",
            "ranges": [[{"subnet": POD_CIDR, "gateway": NODE_IP}]],
            "routes": [{"dst": "0.0.0.0/0"}],
        },
    }
    return {"cniVersion": "1.0.0", "name": BRIDGE, "plugins": [bridge]}


def _kubelet(run: Run) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_IP,
        "healthzBindAddress": NODE_IP,
        "authentication": {"x509": {"clientCAFile": f"{run.pki}/ca.crt"}},
        "tlsCertFile": f"{run.pki}/kubelet-server.crt",
        "tlsPrivateKeyFile": f"{run.pki}/kubelet-server.key",
        "containerRuntimeEndpoint": f"unix://{run.containerd_socket}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": run.cgroup,
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [NODE_IP],
        "clusterDomain": DOMAIN,
        "resolvConf": f"{run.configuration}/resolv.conf",
        "podLogsDir": f"{run.folder}/pods",
        "volumePluginDir": f"{run.folder}/volume-plugins",
        "syncFrequency": SYNC_FREQUENCY,
        "oomScoreAdj": 0,  # lowering it needs CAP_SYS_RESOURCE
        "localStorageCapacityIsolation": False,
        "makeIPTablesUtilChains": False,
        "serializeImagePulls": False,
        # A nearly full disk is no reason to throw out what we loaded by hand.
        "imageGCHighThresholdPercent": 100,
        "evictionHard": {"nodefs.available": "0%", "imagefs.available": "0%"},
    }


def _kube_proxy(run: Run) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": f"{run.pki}/kube-proxy.kubeconfig"},
        "hostnameOverride": NODE,
        "bindAddress": NODE_IP,
        "healthzBindAddress": f"{NODE_IP}:10256",
        "metricsBindAddress": f"{NODE_IP}:10249",
        "clusterCIDR": POD_CIDR,
        "mode": "iptables",
        "nodePortAddresses": ["primary"],  # the bridge, not the machine's own addresses
        "iptables": {"localhostNodePorts": False, "minSyncPeriod": "100ms"},
        # Zero means hands off: it may not write those sysctls here.
        "conntrack": {
            "maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s",
        },
    }  # fmt: skip


def _corefile(run: Run) -> str:
    return f"""\
{DOMAIN} in-addr.arpa ip6.arpa {{
    bind {NODE_IP}
    errors
    kubernetes {DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {run.pki}/dns.kubeconfig
        ttl 1
    }}
}}
# All other names: a clear "no such name" at once, since nothing beyond this machine is reached.
. {{
    bind {NODE_IP}
    template ANY ANY . {{
        rcode NXDOMAIN
    }}
}}
"""


def commands(run: Run, programs: Programs) -> dict[str, list[str]]:
    """Name -> command line, of every program of the node."""
    pki, node = run.pki, str(programs.node)
    return {
        "containerd": ["containerd", f"--config={run.configuration}/containerd.toml"],
        "etcd": [
            node, "etcd", f"--data-dir={run.folder}/etcd",
            # The tests' data need not survive a power cut.
            "--unsafe-no-fsync",
            f"--listen-client-urls=unix://{run.folder}/etcd.sock",
            "--advertise-client-urls=http://unused:2379",  # it must name a port; nobody asks
            f"--listen-peer-urls=unix://{run.folder}/peer.sock",
            "--enable-grpc-gateway=false", "--log-level=warn",
        ],
        "kube-apiserver": [
            node, "kube-apiserver", f"--etcd-servers=unix://{run.folder}/etcd.sock",
            f"--bind-address={NODE_IP}", f"--advertise-address={NODE_IP}", "--secure-port=6443",
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            "--authorization-mode=Node,RBAC", "--allow-privileged=true",
            f"--client-ca-file={pki}/ca.crt",
            f"--tls-cert-file={pki}/apiserver.crt", f"--tls-private-key-file={pki}/apiserver.key",
            f"--kubelet-certificate-authority={pki}/ca.crt",
            f"--kubelet-client-certificate={pki}/apiserver-to-kubelet.crt",
            f"--kubelet-client-key={pki}/apiserver-to-kubelet.key",
            # Or `logs` and `exec` would look the node's name up in the machine's DNS.
            "--kubelet-preferred-address-types=InternalIP",
            f"--service-account-issuer=https://kubernetes.default.svc.{DOMAIN}",
            f"--service-account-key-file={pki}/service-accounts.key",
            f"--service-account-signing-key-file={pki}/service-accounts.key",
        ],
        "kube-controller-manager": [
            node, "kube-controller-manager",
            f"--kubeconfig={pki}/kube-controller-manager.kubeconfig", f"--bind-address={NODE_IP}",
            "--leader-elect=false", "--use-service-account-credentials=true",
            f"--root-ca-file={pki}/ca.crt",
            f"--service-account-private-key-file={pki}/service-accounts.key",
            f"--cluster-signing-cert-file={pki}/ca.crt",
            f"--cluster-signing-key-file={pki}/ca.key",
            "--kube-api-qps=200", "--kube-api-burst=400",
        ],
        "kube-scheduler": [
            node, "kube-scheduler", f"--kubeconfig={pki}/kube-scheduler.kubeconfig",
            f"--bind-address={NODE_IP}", "--leader-elect=false",
            "--kube-api-qps=200", "--kube-api-burst=400",
        ],
        "kubelet": [
            node, "kubelet", f"--kubeconfig={pki}/kubelet.kubeconfig",
            f"--config={run.configuration}/kubelet.json", f"--root-dir={run.folder}/kubelet",
            f"--cert-dir={run.folder}/kubelet/pki", f"--hostname-override={NODE}",
            f"--node-ip={NODE_IP}",
        ],
        "kube-proxy": [node, "kube-proxy", f"--config={run.configuration}/kube-proxy.json"],
        "dns": [str(programs.dns), "-conf", f"{run.configuration}/Corefile"],
    }  # fmt: skip
