"""Decodes a review, has it answered, and records it in the log and the metrics."""

import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from thoughtgate_injector.webhook import admission
from thoughtgate_injector.webhook.admission import AdmissionRequest, MalformedReviewError
from thoughtgate_injector.webhook.metrics import ReviewMetrics
from thoughtgate_injector.webhook.server import Reply

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReviewResult:
    """The response to a review, the outcome in one word for log and metrics, and the reason."""

    outcome: str
    response: dict[str, Any]
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Answers the reviews of one path."""

    entry: str
    """The webhook's entry, for the log and the metrics."""
    kind: str
    """What the log calls the object."""
    review: Callable[[AdmissionRequest, dict[str, Any]], Awaitable[ReviewResult]]
    metrics: ReviewMetrics
    clock: Callable[[], float]
    """Seconds, monotonic."""

    async def answer(self, body: bytes) -> Reply:
        """Answer one review."""
        started = self.clock()
        try:
            request, document = admission.read(body)
        except MalformedReviewError as error:
            self._record("malformed", started, reason=str(error))
            return Reply(HTTPStatus.BAD_REQUEST, f"{error}\n".encode(), "text/plain")
        result = await self.review(request, document)
        self._record(
            result.outcome,
            started,
            uid=request.uid,
            namespace=request.namespace,
            **{self.kind: request.name or request.generated_name()},
            dry_run=bool(request.dry_run),
            reason=result.reason,
        )
        return Reply(HTTPStatus.OK, json.dumps(result.response).encode())

    def _record(self, outcome: str, started: float, **fields: object) -> None:
        seconds = self.clock() - started
        self.metrics.reviewed(self.entry, outcome, seconds)
        line = {"entry": self.entry, "outcome": outcome, "milliseconds": round(seconds * 1000, 3)}
        line |= {name: value for name, value in fields.items() if value is not None}
        logger.info("review", extra={"fields": line})
