"""Decides about one pod: inject, leave as it is, or refuse; always with the reason.

INVARIANT: the decision depends on the pod, the entry and the settings only, so that the same review
gets the same answer from every replica, twice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from thoughtgate_injector.core import eligibility, names, options, sidecar_presence
from thoughtgate_injector.core import pod as pods
from thoughtgate_injector.core.options import Options
from thoughtgate_injector.core.pod import Container, Pod
from thoughtgate_injector.core.refusal import Refusal, refused, shown
from thoughtgate_injector.core.resources import is_guaranteed, share
from thoughtgate_injector.core.settings import Settings
from thoughtgate_injector.core.sidecar import Sidecar
from thoughtgate_injector.core.sidecar_presence import Changed
from thoughtgate_injector.core.untyped import mapping

WORDS: Final = ("true", "false")


class Entry(Enum):
    """By what a pod is opted in; each has a webhook entry and a URL path of its own.

    A pure webhook sees no namespace, so the API server tells it by the path.
    """

    POD = "pod"
    NAMESPACE = "namespace"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True)
class Skip:
    """The pod is not for us."""

    reason: str


@dataclass(frozen=True, slots=True)
class NoChange:
    """The pod has our sidecar already."""


@dataclass(frozen=True, slots=True)
class Injection:
    """The pod gets this sidecar; `others` are its containers, each with its list and place."""

    pod: Pod
    options: Options
    sidecar: Sidecar
    others: tuple[tuple[str, int, Container], ...]


@dataclass(frozen=True, slots=True)
class Restoration:
    """A webhook after us has changed our container: `sidecar` takes its place, whole."""

    pod: Pod
    sidecar: Sidecar
    changed: Changed


Verdict = Injection | Restoration | NoChange | Skip | Refusal


def decide(
    document: Mapping[str, Any], entry: Entry, settings: Settings, *, of_job: bool = False
) -> Verdict:
    """Decide about a decoded pod or template; `of_job`: it is a Job's template."""
    metadata = _or_empty(document.get("metadata"))
    annotations = _or_empty(metadata.get("annotations")) if metadata is not None else None
    labels = _or_empty(metadata.get("labels")) if metadata is not None else None
    if metadata is None or annotations is None or labels is None:
        # It is not known whether the pod is opted in.
        return refused(
            "`metadata`, its `annotations` and its `labels` cannot be read; allowed: mappings"
        )
    if metadata.get("namespace") in names.EXCLUDED_NAMESPACES:
        return Skip(f"namespace {shown(metadata['namespace'])} is excluded")
    word = _word(annotations, labels)
    if isinstance(word, Refusal):
        return word
    if word == "false" and entry is Entry.REQUIRED:
        return refused(
            f"`{names.INJECT}` is `false`, but the namespace's label `{names.INJECT}` is "
            "`required`; allowed: `true`, or no word at all"
        )
    if word == "false":
        return Skip(f"`{names.INJECT}` is `false`")
    if word is None and entry is Entry.POD:
        return Skip("not opted in")
    return _opted_in(document, annotations, labels, settings, of_job=of_job)


def word_of(document: Mapping[str, Any]) -> str | Refusal | None:
    """Give the pod's own word; it chooses the entry where there is no API server."""
    metadata = mapping(document.get("metadata"))
    return _word(mapping(metadata.get("annotations")), mapping(metadata.get("labels")))


def _or_empty(value: object) -> Mapping[str, Any] | None:
    """Give a mapping, empty if it is missing; None for any other type."""
    return {} if value is None else value if isinstance(value, Mapping) else None


def _word(annotations: Mapping[str, Any], labels: Mapping[str, Any]) -> str | Refusal | None:
    found = {
        place: values[names.INJECT]
        for place, values in (("annotation", annotations), ("label", labels))
        if names.INJECT in values
    }
    wrong = tuple(
        f"{place} `{names.INJECT}` is {shown(value)}"
        + ("" if isinstance(value, str) else f" (a {type(value).__name__}, not a string)")
        + "; allowed: `true`, `false`, as a string in quotes"
        for place, value in found.items()
        if value not in WORDS or not isinstance(value, str)
    )
    if wrong:
        return Refusal(wrong)
    words = set(found.values())
    if len(words) > 1:
        return refused(
            f"annotation `{names.INJECT}` is {shown(found['annotation'])} and label "
            f"`{names.INJECT}` is {shown(found['label'])}; allowed: the same word in both"
        )
    return words.pop() if words else None


def _opted_in(
    document: Mapping[str, Any],
    annotations: Mapping[str, Any],
    labels: Mapping[str, Any],
    settings: Settings,
    *,
    of_job: bool,
) -> Verdict:
    pod = pods.read(document)
    if isinstance(pod, Refusal):
        return pod
    mistakes = eligibility.found(pod)
    chosen = options.read(annotations, labels, settings)
    if isinstance(chosen, Refusal):
        return Refusal((*mistakes, *chosen.reasons))
    others = tuple(place for place in pods.containers(pod) if place[2].name != names.CONTAINER)
    mistakes += _misfits(pod, chosen, others, of_job=of_job)
    if mistakes:
        return Refusal(tuple(mistakes))
    asked = _SidecarRequest(pod, chosen, settings, tuple(container for _, _, container in others))
    there = sidecar_presence.judge(document, pod, asked.sidecars(), native=chosen.native)
    if isinstance(there, Refusal):
        return there
    if isinstance(there, Changed):
        found = document["spec"][there.group][there.index].get("image")
        sidecar = asked.sidecar(found)
        return sidecar if isinstance(sidecar, Refusal) else Restoration(pod, sidecar, there)
    if there:
        return NoChange()
    sidecar = asked.sidecar()
    if isinstance(sidecar, Refusal):
        return sidecar
    return Injection(pod, chosen, sidecar, others)


def _misfits(
    pod: Pod,
    chosen: Options,
    others: tuple[tuple[str, int, Container], ...],
    *,
    of_job: bool,
) -> list[str]:
    known = {container.name for _, _, container in others}
    mistakes = [
        f"annotation `{names.PREFIX}exclude-containers` names {shown(name)}; allowed: the pod's "
        f"containers {', '.join(shown(one) for one in sorted(known))}"
        for name in chosen.exclude_containers
        if name not in known
    ]
    if not chosen.native:
        owners = pod.metadata.owner_references or ()
        ends = of_job or any(owner.kind == "Job" for owner in owners)
        if ends or pod.spec.restart_policy in {"Never", "OnFailure"}:
            mistakes.append(
                f"annotation `{names.PREFIX}native-sidecar` is `false`, but the pod is to end by "
                "itself (a Job, or `restartPolicy` other than `Always`) and never would beside a "
                "plain container; leave the annotation out"
            )
    return mistakes


@dataclass(frozen=True, slots=True)
class _SidecarRequest:
    """The input from which a pod's sidecar is made."""

    pod: Pod
    options: Options
    settings: Settings
    others: tuple[Container, ...]

    def sidecar(self, kept: object = None) -> Sidecar | Refusal:
        """Make the sidecar; `kept` is an image that stays if it is one that is allowed."""
        used = {port.name for one in self.others for port in one.ports or ()}
        images = self._images()
        return self._with(
            kept if isinstance(kept, str) and kept in images else images[0],
            _free(names.PROXY_PORT_NAME, used),
            _free(names.ADMIN_PORT_NAME, used),
            guaranteed=is_guaranteed(self.pod, self.others),
        )

    def sidecars(self) -> list[Sidecar]:
        """Give every sidecar that a review of this pod may have added.

        A webhook after us may have given another container a port of our name, or have made the
        pod Guaranteed: what we added before that is still ours. So is one with an older image: a
        replica with the settings of before may have added it, or the pod's manifest may hold it.
        """
        found = [
            self._with(image, proxy, admin, guaranteed=guaranteed)
            for image in self._images()
            for guaranteed in (False, True)
            for proxy in (names.PROXY_PORT_NAME, names.RENAMED_PORT + names.PROXY_PORT_NAME)
            for admin in (names.ADMIN_PORT_NAME, names.RENAMED_PORT + names.ADMIN_PORT_NAME)
        ]
        return [sidecar for sidecar in found if isinstance(sidecar, Sidecar)]

    def _images(self) -> tuple[str, ...]:
        return (self.options.image,) if self.options.image else self.settings.images

    def _with(self, image: str, proxy: str, admin: str, *, guaranteed: bool) -> Sidecar | Refusal:
        ours = share(self.options, guaranteed=guaranteed)
        if isinstance(ours, Refusal):
            return ours
        grace = self.pod.spec.termination_grace_period_seconds
        return Sidecar(
            image=image,
            config_map=self.options.config or names.CONFIG_MAP,
            grace_seconds=names.DEFAULT_GRACE_SECONDS if grace is None else max(grace, 0),
            share=ours,
            native=self.options.native,
            proxy_port_name=proxy,
            admin_port_name=admin,
            log_level=self.options.log_level,
            env=self.settings.env,
        )


def _free(name: str, used: set[str | None]) -> str:
    return names.RENAMED_PORT + name if name in used else name
