"""The node's network on this machine: bridge, kernel switches, rules; and their removal."""

import json
import re
import shutil
from pathlib import Path

from tests.cluster.commands import PATH, ClusterUnavailableError, run
from tests.cluster.run import BRIDGE, NODE_IP, POD_CIDR, SERVICE_CIDR

# The kernel's switches that we, the kubelet or kube-proxy set, and what we set ourselves.
SWITCHES = {
    "net/ipv4/ip_forward": "1",
    # Or the reply of a pod to a pod on the same bridge goes past the Service's address translation.
    "net/bridge/bridge-nf-call-iptables": "1",
    "net/bridge/bridge-nf-call-ip6tables": None,
    "net/ipv4/conf/all/route_localnet": None,
    "vm/overcommit_memory": None,
    "vm/panic_on_oom": None,
    "kernel/panic": None,
    "kernel/panic_on_oops": None,
    "kernel/keys/root_maxkeys": None,
    "kernel/keys/root_maxbytes": None,
}
_SYS = Path("/proc/sys")
_CNI_RESULTS = Path("/var/lib/cni/results")
_RULE = ["-m", "comment", "--comment", "thoughtgate test cluster", "-j", "ACCEPT"]
_FAMILIES = ("iptables", "ip6tables")


def switches() -> dict[str, str]:
    """The switches as they are now."""
    return {name: (_SYS / name).read_text().strip() for name in SWITCHES if (_SYS / name).exists()}


def set_switches(values: dict[str, str]) -> None:
    """Sets those that differ: some may not be written here, and need not be."""
    for name, value in values.items():
        if (_SYS / name).exists() and (_SYS / name).read_text().strip() != value:
            (_SYS / name).write_text(value)


def load_modules() -> None:
    """Where they are modules that are not loaded, and not built into the kernel."""
    overlay = "overlay" in Path("/proc/filesystems").read_text()
    present = {"br_netfilter": (_SYS / "net/bridge").exists(), "overlay": overlay}
    for module in [name for name, is_there in present.items() if not is_there]:
        if shutil.which("modprobe", path=PATH):
            run("modprobe", module, check=False)


def check_free() -> None:
    """Raises where somebody else's Kubernetes runs or our addresses are taken."""
    if chains := kubernetes_chains():
        raise ClusterUnavailableError(
            f"this machine is a Kubernetes node already: iptables has {', '.join(chains[:3])}, ..."
        )
    taken = run("ip", "-o", "-4", "addr", "show", "to", POD_CIDR).strip()
    if taken:
        raise ClusterUnavailableError(f"the pods' addresses {POD_CIDR} are in use here: {taken}")


def make() -> None:
    """The bridge with the node's address, up before the first pod."""
    set_switches({name: value for name, value in SWITCHES.items() if value is not None})
    ip = ["ip", "link"]
    run(*ip, "add", BRIDGE, "type", "bridge")
    run("ip", "addr", "add", f"{NODE_IP}/24", "dev", BRIDGE)
    # No duplicate address detection: its IPv6 address would be tentative for a second.
    run(*ip, "set", BRIDGE, "up")
    # Where another program's policy drops what is forwarded (Docker's does), pods may talk still.
    for direction in ("-i", "-o"):
        run("iptables", "-w", "-I", "FORWARD", direction, BRIDGE, *_RULE)


def links() -> list[str]:
    """Our bridge and what is plugged into it, the bridge last."""
    if not Path(f"/sys/class/net/{BRIDGE}").exists():
        return []
    shown = json.loads(run("ip", "-j", "link", "show", "master", BRIDGE) or "[]")
    return [*(link["ifname"] for link in shown if link), BRIDGE]


def kubernetes_chains() -> list[str]:
    """All chains of Kubernetes, as `<family> <table> <chain>`."""
    return [
        f"{family} {table} {chain}"
        for family in _FAMILIES
        for table, lines in _tables(family).items()
        for chain in _chains(lines)
    ]


def remove() -> None:
    """Removes interfaces, rules, chains, tracked connections and the CNI's notes."""
    for link in links():
        run("ip", "link", "del", link, check=False)
    for family in _FAMILIES:
        _remove_rules(family)
    # A later run uses the same addresses for other pods.
    for ends in (("-s", POD_CIDR), ("-d", SERVICE_CIDR)):
        run("conntrack", "-D", *ends, check=False)
    for file in _CNI_RESULTS.glob(f"{BRIDGE}-*"):
        file.unlink()


def _remove_rules(family: str) -> None:
    """One step for all tables; `kube-proxy --cleanup` is slow and leaves its canaries."""
    script = []
    for table, lines in _tables(family).items():
        chains = _chains(lines)
        rules = [line for line in lines if line.startswith("-A ")]
        ours = [f"-D{rule[2:]}" for rule in rules if _is_ours(rule)]
        if chains or ours:
            flushed = [f":{chain} - [0:0]" for chain in chains]
            script += [f"*{table}", *flushed, *ours, *(f"-X {chain}" for chain in chains), "COMMIT"]
    if script:
        text = "\n".join([*script, ""])
        run(f"{family}-restore", "-w", "--noflush", stdin=text)


def _is_ours(rule: str) -> bool:
    in_standard_chain = not rule.startswith("-A KUBE-")
    jumps = re.search(r" -j KUBE-", rule) is not None
    return in_standard_chain and (jumps or '"thoughtgate test cluster"' in rule)


def _chains(lines: list[str]) -> list[str]:
    return [line.split()[0][1:] for line in lines if line.startswith(":KUBE-")]


def _tables(family: str) -> dict[str, list[str]]:
    tables: dict[str, list[str]] = {}
    for line in run(f"{family}-save", check=False).splitlines():
        if line.startswith("*"):
            tables[line[1:]] = []
        elif tables and line != "COMMIT" and not line.startswith("#"):
            list(tables.values())[-1].append(line)
    return tables
