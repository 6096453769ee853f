"""Reverts an injection, by the record in the pod's status annotation.

What was changed since then stays: it is no longer what was added. A list or mapping that
would be empty is taken out too; to Kubernetes that is the same.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from thoughtgate_injector.core import names, status_annotation
from thoughtgate_injector.core import pod as pods
from thoughtgate_injector.core.patch import Operation, add, remove
from thoughtgate_injector.core.pod import Container, Pod
from thoughtgate_injector.core.refusal import Refusal
from thoughtgate_injector.core.status_annotation import StatusAnnotation

_LOCALHOST: Final = "localhost"
# What is added where a variable is missing, by its name.
_VALUES: Final = {names.AGENT_ENV: names.AGENT_URL}


@dataclass(frozen=True, slots=True)
class Removal:
    """The operations that take the sidecar out; none: there was nothing to take out."""

    operations: tuple[Operation, ...]
    warnings: tuple[str, ...] = ()


def removal(document: Mapping[str, Any]) -> Removal | Refusal:
    """Give the operations for a decoded pod or template."""
    pod = pods.read(document)
    if isinstance(pod, Refusal):
        return pod
    status = (pod.metadata.annotations or {}).get(names.STATUS)
    if status is None:
        by_hand = any(one.name == names.CONTAINER for _, _, one in pods.containers(pod))
        words = f"its container `{names.CONTAINER}` was written by hand, and stays"
        return Removal((), (words,) if by_hand else ())
    found = status_annotation.read(status)
    if isinstance(found, Refusal):
        return found
    # As in a mutation: operations on a list's members come before the ones that shift them.
    return Removal(
        (
            *_environment(pod, found),
            *_resources(found),
            *_volumes(pod, found),
            *_annotations(pod, document["metadata"], found),
            *_containers(pod),
        )
    )


def _environment(pod: Pod, found: StatusAnnotation) -> Iterator[Operation]:
    for group, index, container in pods.containers(pod):
        path = ("spec", group, index, "env")
        ours = set(found.env.get(container.name, ()))
        yield from _without_localhost(path, container, found)
        env = container.env or ()
        added = [
            place
            for place, variable in enumerate(env)
            if variable.name in ours and variable.value == _VALUES.get(variable.name, _LOCALHOST)
        ]
        yield from _removed(path, added, len(env))


def _without_localhost(
    path: tuple[str | int, ...], container: Container, found: StatusAnnotation
) -> Iterator[Operation]:
    extended = set(found.no_proxy.get(container.name, ()))
    for place, variable in enumerate(container.env or ()):
        hosts = (variable.value or "").split(",")
        if variable.name in extended and hosts[-1] == _LOCALHOST:
            yield add((*path, place, "value"), ",".join(hosts[:-1]))


def _resources(found: StatusAnnotation) -> Iterator[Operation]:
    for section, amounts in found.resources.items():
        for kind, amount in amounts.items():
            yield add(("spec", "resources", section, kind), amount)


def _volumes(pod: Pod, found: StatusAnnotation) -> Iterator[Operation]:
    volumes = pod.spec.volumes or ()
    added = [place for place, one in enumerate(volumes) if one.get("name") in found.volumes]
    yield from _removed(("spec", "volumes"), added, len(volumes))


def _annotations(
    pod: Pod, metadata: Mapping[str, Any], found: StatusAnnotation
) -> Iterator[Operation]:
    there = pod.metadata.annotations or {}
    ours = [key for key in there if key in {*found.annotations, names.STATUS}]
    if len(ours) < len(there):
        yield from (remove(("metadata", "annotations", key)) for key in ours)
    else:
        yield remove(("metadata", "annotations") if len(metadata) > 1 else ("metadata",))


def _containers(pod: Pod) -> Iterator[Operation]:
    for group, members in (
        ("containers", pod.spec.containers),
        ("initContainers", pod.spec.init_containers),
    ):
        added = [place for place, one in enumerate(members or ()) if one.name == names.CONTAINER]
        yield from _removed(("spec", group), added, len(members or ()))


def _removed(
    path: tuple[str | int, ...], places: Sequence[int], length: int
) -> Iterator[Operation]:
    """Remove members of a list from behind, or the list where none would be left."""
    if places and len(places) == length:
        yield remove(path)
        return
    for place in reversed(places):
        yield remove((*path, place))
