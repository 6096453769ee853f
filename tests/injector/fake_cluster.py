"""An API server that knows what the injector asks: discovery, one Secret, one webhook."""

import datetime as dt
from collections import Counter
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import jsonpatch
import yaml
from aiohttp import web

from tests.injector.fake_server import FakeServer
from thoughtgate_injector.core import names
from thoughtgate_injector.tls.ca_store import CaStore

BASE = Path(__file__).parents[2] / "manifests/base"
_WEBHOOKS = "/apis/admissionregistration.k8s.io/v1/{}webhookconfigurations/" + names.INJECTOR


def _resource(name: str, kind: str, *, namespaced: bool) -> dict[str, Any]:
    return {
        "name": name,
        "singularName": kind.lower(),
        "kind": kind,
        "namespaced": namespaced,
        "verbs": ["create", "get", "list", "patch", "watch"],
    }


class FakeCluster(FakeServer):
    """Holds the objects; `down` makes every call a 503; `requests` counts by method and path.

    `now` is what its clock says; None is the real time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.secrets: dict[str, dict[str, Any]] = {}
        self.webhook: dict[str, Any] | None = yaml.safe_load((BASE / "webhook.yaml").read_text())
        self.config_webhook: dict[str, Any] = yaml.safe_load(
            (BASE / "config-webhook.yaml").read_text()
        )
        self.requests: Counter[str] = Counter()
        self.now: dt.datetime | None = None

    def bundles(self) -> list[str | None]:
        assert self.webhook is not None
        entries = [*self.webhook["webhooks"], *self.config_webhook["webhooks"]]
        return [entry["clientConfig"].get("caBundle") for entry in entries]

    def store(self) -> CaStore:
        return CaStore(self.kube(), names.NAMESPACE)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        response = await self._answer(request)
        if self.now is not None:
            response.headers["Date"] = format_datetime(self.now, usegmt=True)
        return response

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests[f"{request.method} {request.path}"] += 1
        if self.down:
            return _status(503, "ServiceUnavailable")
        secrets = f"/api/v1/namespaces/{names.NAMESPACE}/secrets"
        webhook, config_webhook = (_WEBHOOKS.format(kind) for kind in ("mutating", "validating"))
        match request.method, request.path:
            case "POST", path if path == secrets:
                return self._create(await request.json())
            case "GET", path if path.startswith(secrets + "/"):
                secret = self.secrets.get(path.rpartition("/")[2])
                return web.json_response(secret) if secret else _status(404, "NotFound")
            case "PATCH", path if path.startswith(secrets + "/"):
                assert request.content_type == "application/merge-patch+json"
                return self._patch(path.rpartition("/")[2], await request.json())
            case "GET", path if path == webhook and self.webhook is not None:
                return web.json_response(self.webhook)
            case "PATCH", path if path == webhook and self.webhook is not None:
                assert request.content_type == "application/json-patch+json"
                self.webhook = jsonpatch.apply_patch(self.webhook, await request.json())
                return web.json_response(self.webhook)
            case "GET", path if path == config_webhook:
                return web.json_response(self.config_webhook)
            case "PATCH", path if path == config_webhook:
                self.config_webhook = jsonpatch.apply_patch(
                    self.config_webhook, await request.json()
                )
                return web.json_response(self.config_webhook)
            case "GET", path if path in _DISCOVERY:
                return web.json_response(_DISCOVERY[path])
        return _status(404, "NotFound")

    def _create(self, secret: dict[str, Any]) -> web.Response:
        name = secret["metadata"]["name"]
        if name in self.secrets:
            return _status(409, "AlreadyExists")
        secret["metadata"]["resourceVersion"] = "1"
        self.secrets[name] = secret
        return web.json_response(secret, status=201)

    def _patch(self, name: str, patch: dict[str, Any]) -> web.Response:
        """Merge as RFC 7396 says, two levels deep, which is all that a Secret has."""
        if name not in self.secrets:
            return _status(404, "NotFound")
        secret = self.secrets[name]
        if patch["metadata"]["resourceVersion"] != secret["metadata"]["resourceVersion"]:
            return _status(409, "Conflict")
        merged = {**secret["data"], **patch["data"]}
        secret["data"] = {key: value for key, value in merged.items() if value is not None}
        secret["metadata"]["resourceVersion"] += "1"
        return web.json_response(secret)


def _status(code: int, reason: str) -> web.Response:
    body = {"apiVersion": "v1", "kind": "Status", "code": code, "reason": reason}
    return web.json_response(body, status=code)


def _group(name: str) -> dict[str, Any]:
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}


_DISCOVERY: dict[str, dict[str, Any]] = {
    "/api": {"versions": ["v1"]},
    "/api/v1": {
        "resources": [
            _resource("pods", "Pod", namespaced=True),
            _resource("pods/ephemeralcontainers", "Pod", namespaced=True),
            _resource("namespaces", "Namespace", namespaced=False),
            _resource("events", "Event", namespaced=True),
        ]
    },
    "/apis": {"groups": [_group("admissionregistration.k8s.io"), _group("dead.example.com")]},
    "/apis/admissionregistration.k8s.io/v1": {"resources": []},
}
