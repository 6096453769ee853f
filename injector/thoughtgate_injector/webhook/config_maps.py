"""The webhook that looks at ConfigMaps with the sidecar's configuration before they are stored.

It fails open: a configuration that could not be checked is let through with a warning, since the
sidecar checks it again and keeps its last good one.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from thoughtgate_injector.core import config_map
from thoughtgate_injector.core.refusal import Refusal
from thoughtgate_injector.webhook import admission
from thoughtgate_injector.webhook.admission import AdmissionRequest, MalformedReviewError
from thoughtgate_injector.webhook.config_check import CheckResult, ConfigChecker
from thoughtgate_injector.webhook.metrics import ReviewMetrics
from thoughtgate_injector.webhook.server import Reply

logger = logging.getLogger(__name__)

ENTRY: Final = "config"
_SHOWN: Final = 50  # mistakes; whoever has more of them does not read on
_RESOURCE: Final = ("", "v1", "configmaps", None)


@dataclass(frozen=True, slots=True)
class ConfigMapWebhook:
    """Answers reviews of ConfigMaps, counts them, and logs each on one line."""

    checker: ConfigChecker
    metrics: ReviewMetrics
    clock: Callable[[], float]
    """Seconds, monotonic."""

    async def answer(self, body: bytes) -> Reply:
        """Answer one review."""
        started = self.clock()
        try:
            request, _ = admission.read(body)
        except MalformedReviewError as error:
            self._record("malformed", started, {"reason": str(error)})
            return Reply(HTTPStatus.BAD_REQUEST, f"{error}\n".encode(), "text/plain")
        outcome, response, reason = await self._reviewed(request)
        self._record(
            outcome,
            started,
            {
                "uid": request.uid,
                "namespace": request.namespace,
                "configmap": request.name,
                "dry_run": bool(request.dry_run),
                **({"reason": reason} if reason else {}),
            },
        )
        return Reply(HTTPStatus.OK, json.dumps(response).encode())

    async def _reviewed(self, request: AdmissionRequest) -> tuple[str, dict[str, Any], str | None]:
        if request.asks() != _RESOURCE or request.operation not in {"CREATE", "UPDATE"}:
            words = (
                "this webhook reviews the creation and update of configmaps; its "
                "ValidatingWebhookConfiguration sends something else"
            )
            refusal = admission.refusal(request.uid, HTTPStatus.BAD_REQUEST, words)
            return "failed", refusal, words
        metadata = request.object.get("metadata")
        if isinstance(metadata, dict) and metadata.get("deletionTimestamp"):
            # Its finalizers are being taken off: a mistake that is going must not be held up.
            return "accepted", admission.allowed(request.uid), None
        files = config_map.read(request.object)
        if isinstance(files, Refusal):
            return self._refused(request.uid, files.reasons)
        result = await self.checker.check(files)
        if not isinstance(result, CheckResult):
            warning = f"this configuration was not checked: {result.reason}"
            return "unchecked", admission.allowed(request.uid, [warning]), result.reason
        if result.mistakes:
            return self._refused(request.uid, result.mistakes)
        return "accepted", admission.allowed(request.uid, result.warnings), None

    @staticmethod
    def _refused(uid: str, mistakes: tuple[str, ...]) -> tuple[str, dict[str, Any], str]:
        lines = list(mistakes[:_SHOWN])
        if len(mistakes) > _SHOWN:
            lines.append(f"and {len(mistakes) - _SHOWN} more")
        # A mistake a line, the first one on a line of its own too: kubectl prints them as they are.
        message = "\n".join(["a sidecar would not start with this configuration:", *lines])
        return "refused", admission.refusal(uid, HTTPStatus.FORBIDDEN, message), lines[0]

    def _record(self, outcome: str, started: float, fields: dict[str, Any]) -> None:
        seconds = self.clock() - started
        self.metrics.reviewed(ENTRY, outcome, seconds)
        shown = {"entry": ENTRY, "outcome": outcome, "milliseconds": round(seconds * 1000, 3)}
        logger.info("review", extra={"fields": {**shown, **fields}})
