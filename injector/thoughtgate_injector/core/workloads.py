"""Where the pods are in a manifest: which kinds hold a template, and where."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

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
class Place:
    """One pod or template in a manifest."""

    path: tuple[str | int, ...]
    """Keys and indices from the document's root to the pod."""
    title: str
    """Such as `Deployment/my-agent`, for messages."""
    of_job: bool
    top: Mapping[str, Any]
    """The object that the pod or template stands in."""
    pod: Mapping[str, Any]


def places(document: object) -> Iterator[Place]:
    """Give every pod and template of a decoded document, those in Lists too; else nothing."""
    if isinstance(document, Mapping):
        yield from _places(document, (), None)


def _places(
    document: Mapping[str, Any], path: tuple[str | int, ...], kind: tuple[str, str] | None
) -> Iterator[Place]:
    group, own = _kind(document)
    items = document.get("items")
    if own.endswith("List") and isinstance(items, list):
        # A typed list (PodList) may leave the kind out of its items.
        inner = (group, own.removesuffix("List")) if own != "List" else None
        for index, item in enumerate(items):
            if isinstance(item, Mapping):
                yield from _places(item, (*path, "items", index), inner)
        return
    if not own and kind is not None:
        group, own = kind
    way = _KINDS.get((group, own))
    if way is None:
        return
    pod: object = document
    for key in way:
        pod = pod.get(key) if isinstance(pod, Mapping) else None
    if isinstance(pod, Mapping):
        title = f"{own}/{_name(document)}"
        yield Place((*path, *way), title, own in {"Job", "CronJob"}, document, pod)


def _kind(document: Mapping[str, Any]) -> tuple[str, str]:
    version, kind = document.get("apiVersion"), document.get("kind")
    if not isinstance(kind, str):
        return "", ""
    group, slash, _ = version.partition("/") if isinstance(version, str) else ("", "", "")
    return group if slash else "", kind


def _name(document: Mapping[str, Any]) -> str:
    metadata = document.get("metadata")
    named = metadata if isinstance(metadata, Mapping) else {}
    return str(named.get("name") or named.get("generateName") or "?")
