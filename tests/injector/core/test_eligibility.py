"""Pods whose sidecar would share its network, its processes or its files with others."""

from typing import Any

import pytest

from thoughtgate_injector.core import eligibility
from thoughtgate_injector.core import pod as pods
from thoughtgate_injector.core.refusal import Refusal


def found(container: dict[str, Any] | None = None, **spec: Any) -> list[str]:
    """The reasons not to inject into a pod with one such container."""
    agent = {"name": "agent", "image": "x", **(container or {})}
    pod = pods.read({"metadata": {}, "spec": {"containers": [agent], **spec}})
    assert not isinstance(pod, Refusal), pod
    return eligibility.found(pod)


def test_a_plain_pod_is_injected() -> None:
    assert found() == []


@pytest.mark.parametrize("field", ["hostNetwork", "hostPID", "shareProcessNamespace"])
def test_what_is_shared_is_refused_by_its_field(field: str) -> None:
    shared: dict[str, Any] = {field: True}
    (reason,) = found(**shared)
    assert reason.startswith(f"`spec.{field}` is `true`")
    apart: dict[str, Any] = {field: False}
    assert found(**apart) == []


@pytest.mark.parametrize(
    "spec",
    [
        {"os": {"name": "windows"}},
        {"nodeSelector": {"kubernetes.io/os": "windows"}},
        {"nodeSelector": {"beta.kubernetes.io/os": "windows"}},
    ],
    ids=["os", "label", "older label"],
)
def test_a_windows_pod_is_refused(spec: dict[str, Any]) -> None:
    assert "windows" in str(found(**spec))


@pytest.mark.parametrize("port", [7467, 7468, 7469])
@pytest.mark.parametrize("protocol", [{}, {"protocol": ""}, {"protocol": "TCP"}])
def test_a_tcp_port_of_the_sidecar_is_refused(port: int, protocol: dict[str, str]) -> None:
    (reason,) = found({"ports": [{"containerPort": port, **protocol}]})
    assert f"has the port `{port}`" in reason


@pytest.mark.parametrize(
    "port", [{"containerPort": 7467, "protocol": "UDP"}, {"containerPort": 7470}]
)
def test_another_port_is_the_agents_own(port: dict[str, Any]) -> None:
    assert found({"ports": [port]}) == []


@pytest.mark.parametrize("group", ["containers", "initContainers"])
@pytest.mark.parametrize(
    "use",
    [
        {"volumeMounts": [{"name": "thoughtgate-state", "mountPath": "/x"}]},
        {"volumeDevices": [{"name": "thoughtgate-state", "devicePath": "/dev/x"}]},
    ],
    ids=["mount", "device"],
)
def test_a_volume_of_the_sidecar_is_refused_in_whatever_container(
    group: str, use: dict[str, Any]
) -> None:
    other = {"name": "other", "image": "x", **use}
    spec: dict[str, Any] = {"containers": [{"name": "agent", "image": "x"}], group: [other]}
    (reason,) = found(**spec)
    assert f"(spec.{group}[0]) mounts the volume `thoughtgate-state`" in reason
