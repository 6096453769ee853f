"""The webhook that injects the sidecar into pods. It is fail-closed: any error is a refusal."""

import logging
from http import HTTPStatus
from typing import Any, assert_never

from thoughtgate_injector.core.mutate import Mutation
from thoughtgate_injector.core.refusal import Refusal
from thoughtgate_injector.core.review import Outcome
from thoughtgate_injector.core.verdict import Entry, NoChange, Skip
from thoughtgate_injector.webhook import admission
from thoughtgate_injector.webhook.admission import AdmissionRequest
from thoughtgate_injector.webhook.endpoint import ReviewResult
from thoughtgate_injector.webhook.kopf_bridge import FAILED, Review

logger = logging.getLogger(__name__)


async def review(
    function: Review, entry: Entry, request: AdmissionRequest, document: dict[str, Any]
) -> ReviewResult:
    """Review one pod by kopf's `function`."""
    if request.asks() != ("", "v1", "pods", None) or request.operation != "CREATE":
        # kopf would allow what it has no handler for.
        words = (
            "this webhook reviews the creation of pods; its MutatingWebhookConfiguration "
            "sends something else"
        )
        refusal = admission.refusal(request.uid, HTTPStatus.BAD_REQUEST, words)
        return ReviewResult("failed", refusal, words)
    try:
        response, outcome = await function(entry, document)
    except Exception:
        logger.exception("kopf failed on a review")
        response, outcome = None, None
    # INVARIANT: a pod that our handler has not reviewed is never allowed.
    if response is None or (response["response"]["allowed"] and outcome is None):
        refusal = admission.refusal(request.uid, HTTPStatus.INTERNAL_SERVER_ERROR, FAILED)
        return ReviewResult("failed", refusal, FAILED)
    status = response["response"].get("status") or {}
    reason = outcome.reason if isinstance(outcome, Skip) else status.get("message")
    word = _word(outcome, allowed=response["response"]["allowed"])
    return ReviewResult(word, response, reason)


def _word(outcome: Outcome | None, *, allowed: bool) -> str:
    match outcome:
        case None:
            return "failed"
        case Mutation():
            return "injected" if allowed else "failed"
        case NoChange():
            return "unchanged"
        case Skip():
            return "skipped"
        case Refusal():
            return "refused"
    assert_never(outcome)
