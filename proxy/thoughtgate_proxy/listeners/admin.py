"""Port 7469: what the kubelet and Prometheus ask."""

from collections.abc import Callable
from typing import Any

import orjson

from thoughtgate_proxy.core.protocol.http import HttpReply, HttpRequest
from thoughtgate_proxy.telemetry.metrics import CONTENT_TYPE

Readiness = Callable[[], tuple[bool, dict[str, Any]]]

_JSON = (("content-type", "application/json; charset=utf-8"),)
_METRICS = (("content-type", CONTENT_TYPE),)


class Admin:
    """`/health`, `/ready` and `/metrics`; nothing here can change anything."""

    def __init__(self, readiness: Readiness, metrics: Callable[[], bytes]) -> None:
        """`readiness` gives whether the gate can be used, and details for a person."""
        self._readiness, self._metrics = readiness, metrics

    def handle(self, request: HttpRequest) -> HttpReply:
        """Answer at once."""
        if request.method not in ("GET", "HEAD"):
            return _json(405, {"status": "method not allowed"})
        match request.target.partition("?")[0]:
            case "/health":
                return _json(200, {"status": "ok"})
            case "/ready":
                ready, details = self._readiness()
                status = "ready" if ready else "not ready"
                return _json(200 if ready else 503, {"status": status, **details})
            case "/metrics":
                return HttpReply(200, _METRICS, self._metrics())
            case _:
                paths = ["/health", "/ready", "/metrics"]
                return _json(404, {"status": "not found", "paths": paths})


def _json(status: int, value: dict[str, Any]) -> HttpReply:
    return HttpReply(status, _JSON, orjson.dumps(value))
