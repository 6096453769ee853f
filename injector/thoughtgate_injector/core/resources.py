"""The sidecar's resources, and how they fit the pod's own.

Source: the table "Resource Recommendations" of the reference document; for the quality of service
k8s.io/kubernetes/pkg/apis/core/v1/helper/qos/qos.go.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from thoughtgate_injector.core import quantity
from thoughtgate_injector.core.options import Options, Profile
from thoughtgate_injector.core.patch import Add, add
from thoughtgate_injector.core.pod import Container, Pod, Quantities, Resources, containers
from thoughtgate_injector.core.refusal import Refusal, shown

KINDS: Final = ("cpu", "memory")


@dataclass(frozen=True, slots=True)
class Share:
    """The sidecar's requests and limits, as Kubernetes quantities."""

    cpu_request: str
    cpu_limit: str
    memory_request: str
    memory_limit: str

    def requests(self) -> dict[str, str]:
        return {"cpu": self.cpu_request, "memory": self.memory_request}

    def limits(self) -> dict[str, str]:
        return {"cpu": self.cpu_limit, "memory": self.memory_limit}


PROFILES: Final = {
    Profile.LIGHT: Share("25m", "100m", "20Mi", "50Mi"),
    Profile.MEDIUM: Share("50m", "200m", "50Mi", "100Mi"),
    Profile.HEAVY: Share("100m", "500m", "100Mi", "200Mi"),
}


def share(options: Options, *, guaranteed: bool) -> Share | Refusal:
    """Give the sidecar's share; in a Guaranteed pod requests are the limits, so that it stays one.

    A limit that is asked for below the profile's request takes the request with it; a request that
    is asked for above the limit is refused.
    """
    row = PROFILES[options.profile]
    mistakes: list[str] = []
    cpu = _pair("cpu", options.cpu_request, options.cpu_limit, row, guaranteed, mistakes)
    memory = _pair(
        "memory", options.memory_request, options.memory_limit, row, guaranteed, mistakes
    )
    return Refusal(tuple(mistakes)) if mistakes else Share(*cpu, *memory)


def _pair(
    kind: str,
    request: str | None,
    limit: str | None,
    row: Share,
    guaranteed: bool,
    mistakes: list[str],
) -> tuple[str, str]:
    limit = limit or row.limits()[kind]
    if guaranteed:
        if request is not None and quantity.parse(request) != quantity.parse(limit):
            mistakes.append(
                f"{kind}-request {shown(request)} is not the {kind}-limit {shown(limit)}, which "
                "would make a Guaranteed pod Burstable; leave the request out or make them equal"
            )
        return limit, limit
    if request is None:
        profile = row.requests()[kind]
        return min(profile, limit, key=quantity.parse), limit
    if quantity.parse(request) > quantity.parse(limit):
        mistakes.append(
            f"{kind}-request {shown(request)} is more than the {kind}-limit {shown(limit)}; "
            f"raise `thoughtgate.io/{kind}-limit` too"
        )
    return request, limit


def unreadable(pod: Pod) -> list[str]:
    """Name every invalid quantity of cpu or memory in the pod, as `place: reason`."""
    found = [("spec.resources", pod.spec.resources)] + [
        (f"spec.{group}[{index}].resources", container.resources)
        for group, index, container in containers(pod)
    ]
    return [
        f"{place}.{section}.{kind} {shown(value)} {reason}"
        for place, resources in found
        for section, kind, value in _amounts(resources)
        if (reason := _mistake(value))
    ]


def is_guaranteed(pod: Pod, others: Sequence[Container]) -> bool:
    """Tell whether the pod without our container is Guaranteed; its quantities must be readable."""
    level = pod.spec.resources
    if any(True for _ in _amounts(level)):
        return _equal(level)
    return bool(others) and all(_equal(container.resources) for container in others)


def raised(pod: Pod, ours: Share) -> list[Add]:
    """Give the operations that raise the pod-level resources, where there are any, by our share."""
    shares = {"requests": ours.requests(), "limits": ours.limits()}
    write = {"cpu": quantity.cpu, "memory": quantity.memory}
    return [
        add(
            ("spec", "resources", section, kind),
            write[kind](quantity.parse(value) + quantity.parse(shares[section][kind])),
        )
        for section, kind, value in _amounts(pod.spec.resources)
    ]


def amounts(resources: Resources | None) -> dict[str, Quantities]:
    """Give the amounts of cpu and memory, by section and kind."""
    found: dict[str, Quantities] = {}
    for section, kind, value in _amounts(resources):
        found.setdefault(section, {})[kind] = value
    return found


def _amounts(resources: Resources | None) -> list[tuple[str, str, str | int | float]]:
    if resources is None:
        return []
    sections: tuple[tuple[str, Quantities | None], ...] = (
        ("requests", resources.requests),
        ("limits", resources.limits),
    )
    return [
        (section, kind, amounts[kind])
        for section, amounts in sections
        for kind in KINDS
        if amounts and kind in amounts
    ]


def _mistake(value: str | float) -> str:
    try:
        quantity.parse(value)
    except ValueError as error:
        return str(error)
    return ""


def _equal(resources: Resources | None) -> bool:
    """Tell whether cpu and memory both have a limit and no other request than that."""
    limits = (resources.limits if resources else None) or {}
    requests = (resources.requests if resources else None) or {}
    return all(
        kind in limits
        and quantity.parse(limits[kind]) > 0
        and quantity.parse(requests.get(kind, limits[kind])) == quantity.parse(limits[kind])
        for kind in KINDS
    )
