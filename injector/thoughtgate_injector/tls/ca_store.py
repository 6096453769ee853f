"""Where the CA is kept in the cluster: its Secret, and the caBundle of our webhooks."""

import base64
import binascii
import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

import msgspec

from thoughtgate_injector.core import names
from thoughtgate_injector.kube.client import KubeClient, KubeError, KubeReply

_SECRET: Final = f"secret `{names.CA_SECRET}`"
# Every configuration whose webhooks our Service answers: its resource, and its name.
_WEBHOOKS: Final = (
    ("mutatingwebhookconfigurations", names.INJECTOR),
    ("validatingwebhookconfigurations", names.INJECTOR),
)
_HINTS: Final[dict[int, str]] = {
    HTTPStatus.NOT_FOUND: "; apply the manifests",
    HTTPStatus.FORBIDDEN: "; apply the manifests' RBAC",
}


@dataclass(frozen=True, slots=True)
class CaSecret:
    """The content of the CA's Secret, and which version of it that is."""

    data: Mapping[str, bytes]
    version: str


@dataclass(frozen=True, slots=True)
class CaReading:
    """The CA's Secret, if there is one, and the time of reading by the API server's clock."""

    stored: CaSecret | None
    at: dt.datetime


@dataclass(frozen=True, slots=True)
class CaStore:
    """The Secret in `namespace`, the injector's own, and our webhooks. All raise KubeError."""

    kube: KubeClient
    namespace: str

    async def read_ca(self) -> CaReading:
        """Read the CA's Secret, which need not exist."""
        reply = await self.kube.ask("GET", f"{self._secrets()}/{names.CA_SECRET}")
        try:
            # Source: RFC 9110, section 6.6.1; whoever has a clock sends it.
            at = parsedate_to_datetime(reply.date)
        except ValueError as error:
            raise KubeError(
                reply.status, f"the API server's answer has no date: `{reply.date}`"
            ) from error
        if reply.status == HTTPStatus.NOT_FOUND:
            return CaReading(None, at)
        secret = _good(reply, "read", _SECRET)
        try:
            data = {
                key: base64.b64decode(value, validate=True)
                for key, value in (secret.get("data") or {}).items()
            }
        except (binascii.Error, ValueError) as error:
            raise KubeError(0, f"cannot read {_SECRET}: {error}") from error
        return CaReading(CaSecret(data, secret["metadata"]["resourceVersion"]), at)

    async def create_ca(self, data: Mapping[str, bytes]) -> bool:
        """Create the Secret; False: another replica was first."""
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": names.CA_SECRET,
                "labels": {"app.kubernetes.io/name": names.INJECTOR},
            },
            "data": _encoded(data),
        }
        reply = await self.kube.ask("POST", self._secrets(), secret)
        if reply.status == HTTPStatus.CONFLICT:
            return False
        _good(reply, "create", _SECRET)
        return True

    async def replace_ca(self, before: CaSecret, data: Mapping[str, bytes]) -> bool:
        """Write the Secret's content anew; False: it is no longer what we read before."""
        # A merge patch, so that others' labels and annotations stay (RFC 7396: null removes).
        patch = {
            "metadata": {"resourceVersion": before.version},
            "data": dict.fromkeys(before.data) | _encoded(data),
        }
        path = f"{self._secrets()}/{names.CA_SECRET}"
        reply = await self.kube.ask("PATCH", path, patch, "application/merge-patch+json")
        if reply.status in {HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND}:
            return False
        _good(reply, "patch", _SECRET)
        return True

    async def ca_bundle(self) -> bytes:
        """Give what the API server trusts us by now: the first entry's caBundle, or nothing."""
        resource, name = _WEBHOOKS[0]
        reply = await self.kube.ask("GET", _path(resource, name))
        if reply.status == HTTPStatus.NOT_FOUND:
            return b""
        found = _good(reply, "read", f"{resource} `{name}`")
        for entry in found.get("webhooks") or ():
            return base64.b64decode(entry["clientConfig"].get("caBundle") or "")
        return b""

    async def put_ca_bundle(self, pem: bytes) -> bool:
        """Write the CA into every entry of our webhooks that has another; False: all had it."""
        wanted = base64.b64encode(pem).decode()
        put = [await self._put(resource, name, wanted) for resource, name in _WEBHOOKS]  # each one
        return any(put)

    async def _put(self, resource: str, name: str, wanted: str) -> bool:
        path, what = _path(resource, name), f"{resource} `{name}`"
        found = _good(await self.kube.ask("GET", path), "read", what)
        operations = [
            operation
            for index, entry in enumerate(found.get("webhooks") or ())
            if entry["clientConfig"].get("caBundle") != wanted
            for operation in (
                # The list may have changed since we read it: an index alone proves nothing.
                {"op": "test", "path": f"/webhooks/{index}/name", "value": entry["name"]},
                {"op": "add", "path": f"/webhooks/{index}/clientConfig/caBundle", "value": wanted},
            )
        ]
        if operations:
            reply = await self.kube.ask("PATCH", path, operations, "application/json-patch+json")
            _good(reply, "patch", what)
        return bool(operations)

    def _secrets(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/secrets"


def _path(resource: str, name: str) -> str:
    return f"/apis/admissionregistration.k8s.io/v1/{resource}/{name}"


def _encoded(data: Mapping[str, bytes]) -> dict[str, str]:
    return {key: base64.b64encode(value).decode() for key, value in data.items()}


def _good(reply: KubeReply, verb: str, what: str) -> dict[str, Any]:
    """Give the object of an answer that is one; raise KubeError, in words, for any other."""
    try:
        found = msgspec.json.decode(reply.body) if 200 <= reply.status <= 299 else None
    except (msgspec.MsgspecError, UnicodeError):
        found = None
    if isinstance(found, dict):
        return found
    hint = _HINTS.get(reply.status, "")
    raise KubeError(reply.status, f"cannot {verb} {what}: {reply.status} {reply.reason}{hint}")
