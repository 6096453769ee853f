"""Where the pods are in a manifest: which kinds hold a template, and where.

Kinds of other groups (an Argo Rollout, a RayCluster) hold templates too. Where is told by the shape
alone, so these are named and left as they are: only the webhook sees what becomes of them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from thoughtgate_injector.core.untyped import mapping, text

_TEMPLATE: Final = ("spec", "template")
# (API group, kind) -> the way to the pod in it.
_KINDS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("", "Pod"): (),
    ("", "ReplicationController"): _TEMPLATE,
    ("apps", "Deployment"): _TEMPLATE,
    ("apps", "ReplicaSet"): _TEMPLATE,
    ("apps", "StatefulSet"): _TEMPLATE,
    ("apps", "DaemonSet"): _TEMPLATE,
    ("batch", "Job"): _TEMPLATE,
    ("batch", "CronJob"): ("spec", "jobTemplate", "spec", "template"),
}


@dataclass(frozen=True, slots=True)
class PodTemplate:
    """One pod or template in a manifest."""

    path: tuple[str | int, ...]
    """Keys and indices from the document's root to the pod."""
    title: str
    """Such as `Deployment/my-agent`, for messages."""
    of_job: bool
    top: Mapping[str, Any]
    """The object that the pod or template stands in."""
    pod: Mapping[str, Any]


def objects(document: object) -> Iterator[Mapping[str, Any]]:
    """Give every object of a decoded document, those in Lists too."""
    if isinstance(document, Mapping):
        yield from (found for found, _, _ in _objects(document, (), None))


def pod_templates(document: object) -> Iterator[PodTemplate]:
    """Give every pod and template of a decoded document, those in Lists too; else nothing."""
    if isinstance(document, Mapping):
        for found, path, kind in _objects(document, (), None):
            yield from _templates_of(found, path, kind)


def unknown_templates(document: object) -> Iterator[PodTemplate]:
    """Give what looks like a pod's template (`spec.containers`) in objects of unknown kinds."""
    if isinstance(document, Mapping):
        for found, path, kind in _objects(document, (), None):
            if kind not in _KINDS:
                yield from _by_shape(found, path, f"{kind[1] or '?'}/{_name(found)}")


def title_of(document: Mapping[str, Any]) -> str:
    """Name an object for messages: `Deployment/my-agent`."""
    return f"{_kind(document)[1]}/{_name(document)}"


_Found = tuple[Mapping[str, Any], tuple[str | int, ...], tuple[str, str]]


def _objects(
    document: Mapping[str, Any], path: tuple[str | int, ...], kind: tuple[str, str] | None
) -> Iterator[_Found]:
    """Give each object with the way to it and its group and kind."""
    group, own = _kind(document)
    items = document.get("items")
    if own.endswith("List") and isinstance(items, list):
        # A typed list (PodList) may leave the kind out of its items.
        inner = (group, own.removesuffix("List")) if own != "List" else None
        for index, item in enumerate(items):
            if isinstance(item, Mapping):
                yield from _objects(item, (*path, "items", index), inner)
        return
    yield document, path, kind if not own and kind is not None else (group, own)


def _templates_of(
    document: Mapping[str, Any], path: tuple[str | int, ...], kind: tuple[str, str]
) -> Iterator[PodTemplate]:
    way = _KINDS.get(kind)
    if way is None:
        return
    pod: object = document
    for key in way:
        pod = pod.get(key) if isinstance(pod, Mapping) else None
    if isinstance(pod, Mapping):
        _, own = kind
        title = f"{own}/{_name(document)}"
        yield PodTemplate((*path, *way), title, own in {"Job", "CronJob"}, document, pod)


def _by_shape(
    top: Mapping[str, Any], front: tuple[str | int, ...], title: str
) -> Iterator[PodTemplate]:
    rest: list[tuple[tuple[str | int, ...], object]] = [(front, top)]
    while rest:
        path, value = rest.pop()
        if isinstance(value, list):
            rest += [((*path, index), each) for index, each in reversed(list(enumerate(value)))]
        elif isinstance(value, Mapping):
            containers = mapping(value.get("spec")).get("containers")
            if isinstance(containers, list) and isinstance(value.get("metadata"), Mapping):
                yield PodTemplate(path, title, False, top, value)
            else:
                rest += [((*path, key), each) for key, each in reversed(list(value.items()))]


def _kind(document: Mapping[str, Any]) -> tuple[str, str]:
    version, kind = document.get("apiVersion"), document.get("kind")
    if not isinstance(kind, str):
        return "", ""
    group, slash, _ = text(version).partition("/")
    return group if slash else "", kind


def _name(document: Mapping[str, Any]) -> str:
    metadata = mapping(document.get("metadata"))
    return str(metadata.get("name") or metadata.get("generateName") or "?")
