"""The webhook that checks ConfigMaps with the sidecar's configuration before they are persisted.

It is fail-open: a configuration that could not be checked is allowed with a warning, since the
sidecar checks it again and keeps its last valid one.
"""

from http import HTTPStatus
from typing import Any, Final

from thoughtgate_injector.core import config_map
from thoughtgate_injector.core.refusal import Refusal
from thoughtgate_injector.core.untyped import mapping
from thoughtgate_injector.webhook import admission
from thoughtgate_injector.webhook.admission import AdmissionRequest
from thoughtgate_injector.webhook.config_check import CheckResult, ConfigChecker
from thoughtgate_injector.webhook.endpoint import ReviewResult

ENTRY: Final = "config"
_SHOWN: Final = 50  # mistakes; a longer list is not read


async def review(
    checker: ConfigChecker, request: AdmissionRequest, _: dict[str, Any]
) -> ReviewResult:
    """Review one ConfigMap."""
    is_write = request.operation in {"CREATE", "UPDATE"}
    if request.asks() != ("", "v1", "configmaps", None) or not is_write:
        words = (
            "this webhook reviews the creation and update of configmaps; its "
            "ValidatingWebhookConfiguration sends something else"
        )
        refusal = admission.refusal(request.uid, HTTPStatus.BAD_REQUEST, words)
        return ReviewResult("failed", refusal, words)
    if mapping(request.object.get("metadata")).get("deletionTimestamp"):
        # Its finalizers are being removed: a mistake must not hold up its deletion.
        return ReviewResult("accepted", admission.allowed(request.uid))
    files = config_map.read(request.object)
    if isinstance(files, Refusal):
        return _refused(request.uid, files.reasons)
    result = await checker.check(files)
    if not isinstance(result, CheckResult):
        warning = f"this configuration was not checked: {result.reason}"
        return ReviewResult("unchecked", admission.allowed(request.uid, [warning]), result.reason)
    if result.mistakes:
        return _refused(request.uid, result.mistakes)
    return ReviewResult("accepted", admission.allowed(request.uid, result.warnings))


def _refused(uid: str, mistakes: tuple[str, ...]) -> ReviewResult:
    lines = list(mistakes[:_SHOWN])
    if len(mistakes) > _SHOWN:
        lines.append(f"and {len(mistakes) - _SHOWN} more")
    # One mistake per line, the first one too: kubectl prints the message as it is.
    message = "\n".join(["a sidecar would not start with this configuration:", *lines])
    return ReviewResult("refused", admission.refusal(uid, HTTPStatus.FORBIDDEN, message), lines[0])
