"""Port 7469: what the kubelet and Prometheus ask."""

from collections.abc import Callable
from typing import Any

from aiohttp import web

from thoughtgate_proxy.listeners.server import Complaints, HttpServer
from thoughtgate_proxy.telemetry.metrics import CONTENT_TYPE

Readiness = Callable[[], tuple[bool, dict[str, Any]]]


class AdminListener:
    """`/health`, `/ready` and `/metrics`; nothing here can change anything."""

    def __init__(
        self, readiness: Readiness, metrics: Callable[[], bytes], complaints: Complaints
    ) -> None:
        """`readiness` gives whether the gate can be used, and details for a person."""
        self._readiness, self._metrics = readiness, metrics
        self.server = HttpServer(self._request, complaints)

    async def _request(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            return web.json_response({"status": "method not allowed"}, status=405)
        match request.path:
            case "/health":
                return web.json_response({"status": "ok"})
            case "/ready":
                ready, details = self._readiness()
                status = "ready" if ready else "not ready"
                return web.json_response(
                    {"status": status, **details}, status=200 if ready else 503
                )
            case "/metrics":
                return web.Response(body=self._metrics(), headers={"Content-Type": CONTENT_TYPE})
            case _:
                return web.json_response(
                    {"status": "not found", "paths": ["/health", "/ready", "/metrics"]}, status=404
                )
