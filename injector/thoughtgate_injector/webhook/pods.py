"""kopf's admission handlers, and the way of a review from its bytes to its answer and back."""

import json
import logging
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Final, assert_never, cast

import kopf

from thoughtgate_injector.core import names
from thoughtgate_injector.core.mutate import Mutation
from thoughtgate_injector.core.refusal import Refusal
from thoughtgate_injector.core.review import Outcome, Reviewer
from thoughtgate_injector.core.verdict import Entry, NoChange, Skip
from thoughtgate_injector.webhook import admission
from thoughtgate_injector.webhook.admission import AdmissionRequest, MalformedReviewError
from thoughtgate_injector.webhook.metrics import ReviewMetrics
from thoughtgate_injector.webhook.server import Answer, Reply

logger = logging.getLogger(__name__)

# The handler's outcome, on its way round kopf, which keeps no more of it than the response.
_OUTCOMES: ContextVar[list[Outcome]] = ContextVar("outcomes")
_FAILED: Final = "the injector failed inside, and nothing was changed; its log says more"


def register(registry: kopf.OperatorRegistry, reviewer: Reviewer) -> None:
    """Add one handler for each entry; its id is the entry's name, as the path's last part is."""

    async def inject(
        *,
        body: kopf.Body,
        patch: kopf.Patch,
        warnings: list[str],
        param: Any = None,
        **_: Any,
    ) -> None:
        entry: Entry = param
        try:
            outcome = reviewer.review(dict(body), entry)
        except Exception as error:
            logger.exception("a review failed")
            raise kopf.AdmissionError(_FAILED, HTTPStatus.INTERNAL_SERVER_ERROR) from error
        _OUTCOMES.get().append(outcome)
        if isinstance(outcome, Refusal):
            raise kopf.AdmissionError(str(outcome), HTTPStatus.FORBIDDEN)
        if isinstance(outcome, Mutation):
            warnings.extend(outcome.warnings)
            # kopf would compute its patch by comparing whole pods, and so rewrite every init
            # container when one goes first. A contract test pins that it takes ours.
            operations = list(outcome.operations)
            patch.as_json_patch = lambda *_: cast("Any", operations)  # type: ignore[method-assign]

    for entry in Entry:
        kopf.on.mutate(
            # By group and version: "pods" alone would scan every group, and one dead APIService
            # would keep the port closed.
            "",
            "v1",
            "pods",
            id=entry.value,
            param=entry,
            operations=["CREATE"],
            registry=registry,
        )(inject)


@dataclass(frozen=True, slots=True)
class PodWebhook:
    """Answers reviews through kopf's function, counts them, and logs each on one line."""

    function: Callable[..., Any]
    metrics: ReviewMetrics
    clock: Callable[[], float]
    """Seconds, monotonic."""

    def answers(self) -> Mapping[str, Answer]:
        """Give what answers at each path."""
        return {names.PATH_PREFIX + entry.value: partial(self.answer, entry) for entry in Entry}

    async def answer(self, entry: Entry, body: bytes) -> Reply:
        """Answer one review; whatever happens inside, the answer has words, and fails closed."""
        started = self.clock()
        try:
            request, document = admission.read(body)
        except MalformedReviewError as error:
            self._record(entry, "malformed", started, {"reason": str(error)})
            return Reply(HTTPStatus.BAD_REQUEST, f"{error}\n".encode(), "text/plain")
        response, outcome = await self._reviewed(entry, request, document)
        status = response["response"].get("status") or {}
        self._record(
            entry,
            _named(outcome, allowed=response["response"]["allowed"]),
            started,
            {
                "uid": request.uid,
                "namespace": request.namespace,
                "pod": request.name or _generated(request.object),
                "dry_run": bool(request.dry_run),
                "reason": outcome.reason if isinstance(outcome, Skip) else status.get("message"),
            },
        )
        return Reply(HTTPStatus.OK, json.dumps(response).encode())

    async def _reviewed(
        self, entry: Entry, request: AdmissionRequest, document: dict[str, Any]
    ) -> tuple[dict[str, Any], Outcome | None]:
        if request.asks() != ("", "v1", "pods", None) or request.operation != "CREATE":
            # kopf would allow what it has no handler for.
            return admission.refusal(
                request.uid,
                HTTPStatus.BAD_REQUEST,
                "this webhook reviews the creation of pods; its MutatingWebhookConfiguration "
                "sends something else",
            ), None
        outcomes: list[Outcome] = []
        token = _OUTCOMES.set(outcomes)
        try:
            response = await self.function(document, webhook=entry.value, headers={})
        except Exception:
            logger.exception("kopf failed on a review")
            response = None
        finally:
            _OUTCOMES.reset(token)
        outcome = outcomes[0] if len(outcomes) == 1 else None
        # INVARIANT: nothing is allowed that our handler has not looked at.
        if response is None or (response["response"]["allowed"] and outcome is None):
            return admission.refusal(request.uid, HTTPStatus.INTERNAL_SERVER_ERROR, _FAILED), None
        return response, outcome

    def _record(
        self, entry: Entry, outcome: str, started: float, fields: Mapping[str, Any]
    ) -> None:
        seconds = self.clock() - started
        self.metrics.reviewed(entry.value, outcome, seconds)
        logger.info(
            "review",
            extra={
                "fields": {
                    "entry": entry.value,
                    "outcome": outcome,
                    "milliseconds": round(seconds * 1000, 3),
                    **{name: value for name, value in fields.items() if value is not None},
                }
            },
        )


def _named(outcome: Outcome | None, *, allowed: bool) -> str:
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


def _generated(pod: Mapping[str, Any]) -> str | None:
    """Name a pod that has no name yet by the front that it will have."""
    metadata = pod.get("metadata")
    front = metadata.get("generateName") if isinstance(metadata, Mapping) else None
    return f"{front}*" if isinstance(front, str) else None
