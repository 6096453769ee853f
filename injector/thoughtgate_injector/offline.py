"""`inject` without a cluster: manifests in, manifests out."""

from collections.abc import Iterator
from dataclasses import dataclass

from thoughtgate_injector import manifest_text
from thoughtgate_injector.core import names
from thoughtgate_injector.core.mutate import Mutation
from thoughtgate_injector.core.patch import Add
from thoughtgate_injector.core.refusal import Refusal, shown
from thoughtgate_injector.core.review import Reviewer
from thoughtgate_injector.core.verdict import Entry, word_of
from thoughtgate_injector.core.workloads import Place, places


@dataclass(frozen=True, slots=True)
class Injected:
    """The manifests with the sidecar in them, and what their owner should be told."""

    text: str
    warnings: tuple[str, ...]


def inject(text: str, reviewer: Reviewer, namespace: Entry | None = None) -> Injected | Refusal:
    """Inject into every opted-in pod and template of a file.

    `namespace` is what the label of the target namespace would say: NAMESPACE for `enabled`,
    REQUIRED for `required`, None for no label. One refused pod refuses the file.
    """
    documents = manifest_text.read(text)
    if isinstance(documents, Refusal):
        return documents
    out: list[str] = []
    warnings: list[str] = []
    reasons: list[str] = []
    for document in documents:
        operations: list[Add] = []
        for place in places(document.plain):
            outcome = reviewer.review(place.pod, _entry(place, namespace), of_job=place.of_job)
            if isinstance(outcome, Refusal):
                reasons += [f"{place.title}: {reason}" for reason in outcome.reasons]
                continue
            warnings += [f"{place.title}: {warning}" for warning in _misplaced(place)]
            if isinstance(outcome, Mutation):
                operations += _moved(place, outcome)
                warnings += [f"{place.title}: {warning}" for warning in outcome.warnings]
        if not reasons:
            out.append(document.changed(operations))
    if reasons:
        return Refusal(tuple(reasons))
    return Injected("".join(out) if documents else text, tuple(warnings))


def _entry(place: Place, namespace: Entry | None) -> Entry:
    """Choose as the API server does by the webhooks' match conditions."""
    word = word_of(place.pod)
    if word is None and namespace is not None:
        return Entry.NAMESPACE
    if word == "false" and namespace is Entry.REQUIRED:
        return Entry.REQUIRED
    return Entry.POD


def _moved(place: Place, outcome: Mutation) -> Iterator[Add]:
    front = "".join(f"/{part}" for part in place.path)
    for operation in outcome.operations:
        yield Add(op="add", path=front + operation["path"], value=operation["value"])


def _misplaced(place: Place) -> Iterator[str]:
    if place.top is not place.pod and word_of(place.pod) is None and word_of(place.top) is not None:
        yield (
            f"{shown(names.INJECT)} stands on the workload, where it does nothing; "
            "it belongs to the metadata of the pod template"
        )
