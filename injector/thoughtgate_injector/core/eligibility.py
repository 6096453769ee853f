"""Why a pod cannot be injected, whatever it asks for.

Each of these would take away what the sidecar is for: its own network identity, its processes, its
files. Source: `injection.md`, "Opting in".
"""

from thoughtgate_injector.core import names, resources
from thoughtgate_injector.core import pod as pods
from thoughtgate_injector.core.pod import Container, Pod
from thoughtgate_injector.core.refusal import listed, shown

_OS_LABELS = ("kubernetes.io/os", "beta.kubernetes.io/os")
_PORTS = {names.PROXY_PORT, names.INBOUND_PORT, names.ADMIN_PORT}


def found(pod: Pod) -> list[str]:
    """Give every reason not to inject into this pod."""
    reasons = [*_of_pod(pod), *resources.unreadable(pod)]
    for group, index, container in pods.containers(pod):
        if container.name != names.CONTAINER:
            reasons += _of_container(f"spec.{group}[{index}]", container)
    return reasons


def _of_pod(pod: Pod) -> list[str]:
    reasons = []
    selector = pod.spec.node_selector or {}
    system = pod.spec.os.name if pod.spec.os else ""
    if "windows" in {system, *(selector.get(label) for label in _OS_LABELS)}:
        reasons.append("a windows pod cannot run the sidecar; allowed: linux")
    if pod.spec.host_network:
        reasons.append(
            "`spec.hostNetwork` is `true`, so that others share the port; allowed: `false`"
        )
    if pod.spec.host_pid:
        reasons.append("`spec.hostPID` is `true`, so that others see its process; allowed: `false`")
    if pod.spec.share_process_namespace:
        reasons.append(
            "`spec.shareProcessNamespace` is `true`, so that the agent sees the sidecar's process; "
            "allowed: `false`"
        )
    return reasons


def _of_container(place: str, container: Container) -> list[str]:
    # By name, not by path: each container has mounts of its own, which hide nothing from ours.
    uses = (*(container.volume_mounts or ()), *(container.volume_devices or ()))
    reasons = [
        _volume(place, container, use.name)
        for use in uses
        if use.name.startswith(names.VOLUME_PREFIX)
    ]
    # One network namespace: the second to bind a port fails, and that may be the sidecar.
    reasons += [
        f"container {shown(container.name)} ({place}) has the port `{port.container_port}`; "
        f"allowed: any but the sidecar's {listed(str(one) for one in sorted(_PORTS))}"
        for port in container.ports or ()
        if port.container_port in _PORTS and port.protocol in {None, "", "TCP"}
    ]
    return reasons


def _volume(place: str, container: Container, name: str) -> str:
    return (
        f"container {shown(container.name)} ({place}) mounts the volume {shown(name)}; allowed: "
        f"volumes without `{names.VOLUME_PREFIX}` at the front, which are the sidecar's"
    )
