"""Generated pods of every field that matters: injected once, or refused in words; never else."""

import copy
from typing import Any

from hypothesis import given, settings

from tests.injector import generated
from tests.injector.core.test_pods import default
from thoughtgate_injector.core.mutate import Mutation
from thoughtgate_injector.core.patch import apply
from thoughtgate_injector.core.refusal import Refusal
from thoughtgate_injector.core.review import Reviewer
from thoughtgate_injector.core.settings import Settings
from thoughtgate_injector.core.verdict import Entry, Unchanged

REVIEWER = Reviewer(Settings(), "0.1.0")
# What of the generated a refusal may speak of: all else must be injected.
REFUSABLE = (
    "shareProcessNamespace", "is not the sidecar's", "would make a Guaranteed pod Burstable",
)  # fmt: skip


@settings(max_examples=300)
@given(generated.pods(**{"thoughtgate.io/inject": "true"}))
def test_a_pod_is_injected_once_and_only_as_the_contract_lists_or_refused_for_a_reason(
    pod: dict[str, Any],
) -> None:
    before = copy.deepcopy(pod)
    outcome = REVIEWER.review(pod, Entry.POD)
    assert pod == before
    if isinstance(outcome, Refusal):
        assert all(any(known in words for known in REFUSABLE) for words in outcome.reasons), outcome
        return
    assert isinstance(outcome, Mutation)
    patched = copy.deepcopy(pod)
    apply(patched, copy.deepcopy(outcome.operations))
    assert generated.without_ours(patched) == generated.without_ours(pod)
    assert REVIEWER.review(patched, Entry.POD) == Unchanged()
    default(patched)
    assert REVIEWER.review(patched, Entry.POD) == Unchanged()
