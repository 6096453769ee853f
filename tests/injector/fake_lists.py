"""An API server with pods and namespaces: pages, watches, events and evictions, as the real one."""

import asyncio
import json
from collections import Counter
from typing import Any

from aiohttp import web

from tests.injector.fake_server import FakeServer
from thoughtgate_injector.core import names

PATHS = {"/api/v1/namespaces": "Namespace", "/api/v1/pods": "Pod"}
NOW = "Thu, 01 Jan 2026 00:00:00 GMT"


class FakeLists(FakeServer):
    """Holds objects by path and uid; changes reach those who watch.

    `gone`: resourceVersions below this one are too old. `expired_pages`: that many continue tokens
    have expired. `down`: every call is a 503. `eviction_status` is what evictions are answered.
    """

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[str, dict[str, dict[str, Any]]] = {path: {} for path in PATHS}
        self.webhook: dict[str, Any] | None = {"webhooks": [{"clientConfig": {"caBundle": "eA=="}}]}
        self.events: list[dict[str, Any]] = []
        self.evictions: list[dict[str, Any]] = []
        self.requests: Counter[str] = Counter()
        self.gone = 0
        self.expired_pages = 0
        self.eviction_status = 201
        self._version = 0
        self._history: list[tuple[int, str, str, dict[str, Any]]] = []

    def put(self, path: str, document: dict[str, Any]) -> None:
        """Create or change an object."""
        uid = document["metadata"]["uid"]
        kind = "MODIFIED" if uid in self.objects[path] else "ADDED"
        self._change(path, kind, document)
        self.objects[path][uid] = document

    def drop(self, path: str, uid: str) -> None:
        """Delete an object."""
        self._change(path, "DELETED", self.objects[path].pop(uid))

    def end_watches(self) -> None:
        """Let no version be new enough any more, as after a compaction."""
        self._version += 1
        self.gone = self._version

    def _change(self, path: str, kind: str, document: dict[str, Any]) -> None:
        self._version += 1
        document["metadata"]["resourceVersion"] = str(self._version)
        self._history.append((self._version, path, kind, json.loads(json.dumps(document))))

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        watches = "watch" in request.query
        self.requests[f"{request.method} {path}{' watch' if watches else ''}"] += 1
        if self.down:
            return _status(503, "ServiceUnavailable")
        if request.method == "GET" and path in PATHS:
            return await self._watch(request) if watches else self._list(request)
        if request.method == "GET" and path.endswith(names.INJECTOR):
            return web.json_response(self.webhook) if self.webhook else _status(404, "NotFound")
        if request.method == "POST" and path.endswith("/events"):
            self.events.append(await request.json())
            return web.json_response({}, status=201, headers={"Date": NOW})
        if request.method == "POST" and path.endswith("/eviction"):
            self.evictions.append(await request.json())
            if self.eviction_status != 201:
                return _status(self.eviction_status, "TooManyRequests")
            return web.json_response({}, status=201, headers={"Date": NOW})
        return _status(404, "NotFound")

    def _list(self, request: web.Request) -> web.Response:
        limit, start = int(request.query["limit"]), int(request.query.get("continue", "0"))
        if start and self.expired_pages:
            self.expired_pages -= 1
            return _status(410, "Expired")
        items = list(self.objects[request.path].values())
        more = start + limit < len(items)
        metadata = {"resourceVersion": str(self._version)}
        if more:
            metadata["continue"] = str(start + limit)
        return web.json_response({"metadata": metadata, "items": items[start : start + limit]})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        version = int(request.query["resourceVersion"])
        response = web.StreamResponse()
        await response.prepare(request)
        while not self.down:
            if version < self.gone:
                status = {"kind": "Status", "code": 410, "message": "too old resource version"}
                await _write(response, "ERROR", status)
                break
            for at, path, kind, document in list(self._history):
                if at > version and path == request.path:
                    await _write(response, kind, document)
                    version = at
            await asyncio.sleep(0.01)
        return response


async def _write(response: web.StreamResponse, kind: str, document: dict[str, Any]) -> None:
    await response.write(json.dumps({"type": kind, "object": document}).encode() + b"\n")


def _status(code: int, reason: str) -> web.Response:
    body = {"kind": "Status", "code": code, "reason": reason, "message": reason}
    return web.json_response(body, status=code)
