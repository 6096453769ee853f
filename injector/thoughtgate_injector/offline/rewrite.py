"""`inject`, `uninject` and `validate` on the text of manifests."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from thoughtgate_injector.core import config_map, names, options
from thoughtgate_injector.core.config_map import ConfigFiles
from thoughtgate_injector.core.mutate import Mutation, misspelt
from thoughtgate_injector.core.patch import Operation, moved
from thoughtgate_injector.core.refusal import Refusal, shown
from thoughtgate_injector.core.review import Outcome, Reviewer
from thoughtgate_injector.core.untyped import mapping
from thoughtgate_injector.core.verdict import Entry, NoChange, Skip, word_of
from thoughtgate_injector.core.workloads import (
    PodTemplate,
    objects,
    pod_templates,
    title_of,
    unknown_templates,
)
from thoughtgate_injector.offline import documents
from thoughtgate_injector.offline.documents import Document
from thoughtgate_injector.offline.removal import removal


@dataclass(frozen=True, slots=True)
class RewriteResult:
    """The manifests after the change, and what their owner should be told."""

    text: str
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """What the webhook would say of one object, with each reason and warning.

    `left`: it is of a kind that is not known, and only the webhook can tell.
    """

    title: str
    outcome: str
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    left: bool = False

    @property
    def refused(self) -> bool:
        """Whether it is refused, or nobody could tell."""
        return self.outcome in ("refused", "not checked")


def inject(
    text: str, reviewer: Reviewer, namespace: Entry | None = None, *, strict: bool = False
) -> RewriteResult | Refusal:
    """Inject into every opted-in pod and template of a file.

    `namespace` is what the label of the target namespace would say: NAMESPACE for `enabled`,
    REQUIRED for `required`, None for no label. One refused pod refuses the file; so does, with
    `strict`, an opted-in template of a kind that is not known.
    """

    def change(place: PodTemplate) -> _Edit | Refusal:
        outcome = _reviewed(place, reviewer, namespace)
        if isinstance(outcome, Refusal):
            return outcome
        warnings = tuple(_unheard(place, outcome))
        if isinstance(outcome, Mutation):
            return _Edit(outcome.operations, (*warnings, *outcome.warnings))
        return _Edit((), warnings)

    parsed = documents.read(text)
    if isinstance(parsed, Refusal):
        return parsed
    left = tuple(
        f"{one.title}: {one.outcome}: {one.reasons[0]}"
        for document in parsed
        for one in _left(document.plain, namespace)
    )
    result = _rewritten(parsed, change)
    if left and strict:
        return Refusal(left + (result.reasons if isinstance(result, Refusal) else ()))
    if isinstance(result, Refusal):
        return result
    return RewriteResult(result.text if parsed else text, (*result.warnings, *left))


def uninject(text: str) -> RewriteResult | Refusal:
    """Take every injected sidecar out of a file again."""

    def change(place: PodTemplate) -> _Edit | Refusal:
        outcome = removal(place.pod)
        if isinstance(outcome, Refusal):
            return outcome
        return _Edit(outcome.operations, outcome.warnings)

    parsed = documents.read(text)
    if isinstance(parsed, Refusal):
        return parsed
    result = _rewritten(parsed, change)
    return result if parsed else RewriteResult(text, ())


def validate(
    text: str,
    reviewer: Reviewer,
    check: Callable[[ConfigFiles], Finding],
    namespace: Entry | None = None,
) -> tuple[Finding, ...] | Refusal:
    """Say what the webhooks would say of every object of a file that they look at.

    `check` judges the files of a labelled ConfigMap; its finding's title is not used.
    """
    parsed = documents.read(text)
    if isinstance(parsed, Refusal):
        return parsed
    findings: list[Finding] = []
    for document in parsed:
        findings += [
            _finding(place, _reviewed(place, reviewer, namespace))
            for place in pod_templates(document.plain)
        ]
        findings += _left(document.plain, namespace)
        findings += [
            _config_finding(found, check)
            for found in objects(document.plain)
            if config_map.is_config(found)
        ]
    return tuple(findings)


@dataclass(frozen=True, slots=True)
class _Edit:
    operations: Sequence[Operation]
    warnings: tuple[str, ...]


def _rewritten(
    parsed: Sequence[Document], change: Callable[[PodTemplate], _Edit | Refusal]
) -> RewriteResult | Refusal:
    out: list[str] = []
    warnings: list[str] = []
    reasons: list[str] = []
    for document in parsed:
        operations: list[Operation] = []
        for place in pod_templates(document.plain):
            found = change(place)
            if isinstance(found, Refusal):
                reasons += [f"{place.title}: {reason}" for reason in found.reasons]
                continue
            warnings += [f"{place.title}: {warning}" for warning in found.warnings]
            operations += [moved(operation, place.path) for operation in found.operations]
        if not reasons:
            out.append(document.changed(operations))
    if reasons:
        return Refusal(tuple(reasons))
    return RewriteResult("".join(out), tuple(warnings))


def _left(plain: object, namespace: Entry | None) -> Iterator[Finding]:
    """Name the opted-in templates of kinds that are not known."""
    for place in unknown_templates(plain):
        word = word_of(place.pod)
        own = mapping(place.top.get("metadata")).get("namespace")
        asks = namespace is not None if word is None else word != "false"
        if own in names.EXCLUDED_NAMESPACES or not (
            asks or (word == "false" and namespace is Entry.REQUIRED)
        ):
            continue
        where = shown(".".join(map(str, place.path)) or ".")
        reason = (
            f"the pod template at {where} asks for the sidecar, in a kind that is not known here; "
            "its pods get it as they are created"
        )
        yield Finding(place.title, "left to the webhook", (reason,), left=True)


def _reviewed(place: PodTemplate, reviewer: Reviewer, namespace: Entry | None) -> Outcome:
    # A template has no namespace of its own; its pods get the workload's.
    own = mapping(place.top.get("metadata")).get("namespace")
    if own in names.EXCLUDED_NAMESPACES:
        return Skip(f"namespace {shown(own)} is excluded")
    return reviewer.review(place.pod, _entry(place, namespace), of_job=place.of_job)


def _entry(place: PodTemplate, namespace: Entry | None) -> Entry:
    """Choose as the API server does by the webhooks' match conditions."""
    word = word_of(place.pod)
    if word is None and namespace is not None:
        return Entry.NAMESPACE
    if word == "false" and namespace is Entry.REQUIRED:
        return Entry.REQUIRED
    return Entry.POD


def _unheard(place: PodTemplate, outcome: Outcome) -> Iterator[str]:
    """Name the words that nobody reads where they stand."""
    if place.top is not place.pod:
        for key in _keys_of_ours(place.top):
            yield (
                f"{shown(key)} stands on the workload, where it does nothing; "
                "it belongs to the metadata of the pod template"
            )
        yield from misspelt(place.top)
    if not isinstance(outcome, Mutation):
        yield from misspelt(place.pod)
    if isinstance(outcome, Skip) and word_of(place.pod) is None:
        for key in _keys_of_ours(place.pod):
            nearest = options.nearest(key)
            hint = "" if nearest == key else f"; the nearest key is {shown(nearest)}"
            yield f"{shown(key)} does nothing on a pod that is not opted in{hint}"


def _keys_of_ours(document: Mapping[str, Any]) -> Iterator[str]:
    metadata = mapping(document.get("metadata"))
    for part in ("annotations", "labels"):
        for key in mapping(metadata.get(part)):
            if isinstance(key, str) and key.startswith(names.PREFIX) and key != names.STATUS:
                yield key


def _finding(place: PodTemplate, outcome: Outcome) -> Finding:
    warnings = tuple(_unheard(place, outcome))
    match outcome:
        case Mutation():
            return Finding(place.title, "injected", warnings=(*warnings, *outcome.warnings))
        case NoChange():
            reason = "it has the sidecar already"
            return Finding(place.title, "unchanged", (reason,), warnings)
        case Skip():
            return Finding(place.title, "skipped", (outcome.reason,), warnings)
        case Refusal():
            return Finding(place.title, "refused", outcome.reasons, warnings)
    assert_never(outcome)


def _config_finding(
    document: Mapping[str, Any], check: Callable[[ConfigFiles], Finding]
) -> Finding:
    title = title_of(document)
    files = config_map.read(document)
    if isinstance(files, Refusal):
        return Finding(title, "refused", files.reasons)
    found = check(files)
    return Finding(title, found.outcome, found.reasons, found.warnings)
