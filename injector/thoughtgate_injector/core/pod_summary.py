"""Summaries of running pods: which should have the sidecar and have none, or an old one.

What is kept of a pod is as little as can be, since there may be thousands; a namespace's label is
not part of it, as it may change at any time without the pod.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from thoughtgate_injector.core import names, status_annotation
from thoughtgate_injector.core.refusal import Refusal, shown
from thoughtgate_injector.core.review import Reviewer
from thoughtgate_injector.core.status_annotation import StatusAnnotation
from thoughtgate_injector.core.untyped import mapping, text
from thoughtgate_injector.core.verdict import Entry, NoChange, Restoration, decide, word_of

OPTING_IN: Final = ("enabled", "true", "required")  # the words of a namespace's label
REQUIRED: Final = "required"
_ENDED: Final = ("Succeeded", "Failed")
_HASH: Final = "pod-template-hash"
_LONGEST: Final = (
    100  # characters of a version or image that are kept: any author may have written them
)


class SidecarState(Enum):
    """Whether an opted-in pod has the current sidecar."""

    CURRENT = "current"
    OUTDATED = "outdated"
    MISSING = "missing"


@dataclass(frozen=True, slots=True)
class SidecarStatus:
    """A state and its reason; `version` and `image` are the sidecar's, if it has one."""

    state: SidecarState
    reason: str = ""
    version: str = ""
    image: str = ""


class OptIn(Enum):
    """The opt-in of the pod itself."""

    POD = "pod"
    NOTHING = "nothing"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Workload:
    """The controller of a pod; for a ReplicaSet of a Deployment it is the Deployment."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class PodSummary:
    """What is kept of one pod; `status` is its sidecar's, which counts where it is opted in."""

    uid: str
    namespace: str
    name: str
    created: str
    """As the API server writes times, which sort as text."""
    asks: OptIn
    status: SidecarStatus
    workload: Workload | None

    def status_in(self, word: str | None) -> SidecarStatus | None:
        """Give the status where its namespace's label is `word`; None: it is not opted in."""
        if self.asks is OptIn.POD:
            return self.status
        if self.asks is OptIn.NOTHING:
            return self.status if word in OPTING_IN else None
        return _OPTED_OUT if word == REQUIRED else None


_OPTED_OUT: Final = SidecarStatus(
    SidecarState.MISSING, "it opted out of the sidecar, which its namespace requires"
)
_NO_SIDECAR: Final = SidecarStatus(SidecarState.MISSING, "it has no sidecar")
_NO_RECORD: Final = SidecarStatus(
    SidecarState.MISSING,
    f"its container `{names.CONTAINER}` was not injected: it has no `{names.STATUS}`",
)


def summarize(document: Mapping[str, Any], reviewer: Reviewer) -> PodSummary | None:
    """Summarize a decoded pod; None: it has ended, is being deleted, or is not ours to judge."""
    metadata, phase = (
        mapping(document.get("metadata")),
        mapping(document.get("status")).get("phase"),
    )
    annotations = mapping(metadata.get("annotations"))
    uid, namespace, name = (text(metadata.get(key)) for key in ("uid", "namespace", "name"))
    if (
        not (uid and namespace and name)
        or namespace in names.EXCLUDED_NAMESPACES
        or metadata.get("deletionTimestamp") is not None
        or phase in _ENDED
        or names.MIRROR_POD in annotations
    ):
        return None
    word = word_of(document)
    asks = OptIn.NOTHING if word is None else OptIn.NO if word == "false" else OptIn.POD
    return PodSummary(
        uid,
        namespace,
        name,
        text(metadata.get("creationTimestamp")),
        asks,
        _status(document, asks, reviewer),
        _workload(metadata),
    )


def _status(document: Mapping[str, Any], asks: OptIn, reviewer: Reviewer) -> SidecarStatus:
    container = next(_sidecars(document), None)
    if container is None:
        return _NO_SIDECAR
    status = mapping(mapping(document.get("metadata")).get("annotations")).get(names.STATUS)
    found = status_annotation.read(status) if isinstance(status, str) else None
    if not isinstance(found, StatusAnnotation):
        return _NO_RECORD
    image = text(container.get("image"))[:_LONGEST]
    version = found.version[:_LONGEST]
    reason = _outdated(document, asks, reviewer, version, image)
    return SidecarStatus(
        SidecarState.OUTDATED if reason else SidecarState.CURRENT, reason, version, image
    )


def _outdated(
    document: Mapping[str, Any], asks: OptIn, reviewer: Reviewer, version: str, image: str
) -> str:
    """Say why a sidecar is outdated; empty if it is current."""
    if version != reviewer.version:
        return f"its sidecar is of version {shown(version)}, today's is {shown(reviewer.version)}"
    today = reviewer.settings.image
    own_image = names.PREFIX + "image" in mapping(document["metadata"].get("annotations"))
    if image != today[:_LONGEST] and not own_image:
        return f"its sidecar runs {shown(image)}, today's is {shown(today)}"
    entry = Entry.POD if asks is OptIn.POD else Entry.NAMESPACE
    verdict = decide(document, entry, reviewer.settings)
    if isinstance(verdict, NoChange):
        return ""
    why = (
        verdict.reasons[0]
        if isinstance(verdict, Refusal)
        else verdict.changed.why
        if isinstance(verdict, Restoration)
        else "it was changed"
    )
    return f"its sidecar is not the one of today: {why}"


def _sidecars(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    spec = mapping(document.get("spec"))
    for group in ("initContainers", "containers"):
        members = spec.get(group)
        for container in members if isinstance(members, list) else ():
            if mapping(container).get("name") == names.CONTAINER:
                yield container


def _workload(metadata: Mapping[str, Any]) -> Workload | None:
    owners = metadata.get("ownerReferences")
    for owner in owners if isinstance(owners, list) else ():
        if not mapping(owner).get("controller") or owner.get("kind") == "Node":
            continue
        kind, name = text(owner.get("kind")), text(owner.get("name"))
        # A Deployment names its ReplicaSets so; reading each of them would need another permission.
        end = f"-{mapping(metadata.get('labels')).get(_HASH)}"
        if kind == "ReplicaSet" and name.endswith(end):
            return Workload("Deployment", name.removesuffix(end))
        return Workload(kind, name)
    return None
