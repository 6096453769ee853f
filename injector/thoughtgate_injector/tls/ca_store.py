"""What the injector reads and writes in its cluster: the CA's Secret and its own webhook.

The client's own request is used, not its typed calls: those import 285 modules of models, 28 MB in
each replica, for two objects. The calls block; they belong into a thread.
"""

import base64
import binascii
import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final

from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from kubernetes.config.incluster_config import load_incluster_config
from urllib3.exceptions import HTTPError

from thoughtgate_injector.core import names

_TIMEOUT: Final = 5.0  # seconds
_SECRET: Final = f"secret `{names.CA_SECRET}`"
# Every configuration whose webhooks our Service answers: its resource, and its name.
_WEBHOOKS: Final = (
    ("mutatingwebhookconfigurations", names.INJECTOR),
    ("validatingwebhookconfigurations", names.INJECTOR),
)


class ClusterError(Exception):
    """The API server could not be asked, or said no; the words say what and why."""


@dataclass(frozen=True, slots=True)
class CaSecret:
    """The content of the CA's Secret, and which version of it that is."""

    data: Mapping[str, bytes]
    version: str


@dataclass(frozen=True, slots=True)
class CaReading:
    """What a look at the CA's Secret found, and when: by the API server's clock."""

    stored: CaSecret | None
    at: dt.datetime


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    reason: str
    at: str
    body: Any


@dataclass(frozen=True, slots=True)
class CaStore:
    """One API server; `namespace` is the injector's own."""

    api: Any
    namespace: str

    def read_ca(self) -> CaReading:
        """Look at the CA's Secret, which need not be there."""
        answer = self._ask("GET", f"{self._secrets()}/{names.CA_SECRET}")
        try:
            # Source: RFC 9110, section 6.6.1; whoever has a clock sends it.
            at = parsedate_to_datetime(answer.at)
        except ValueError as error:
            raise ClusterError(f"the API server's answer has no date: `{answer.at}`") from error
        if answer.status == HTTPStatus.NOT_FOUND:
            return CaReading(None, at)
        secret = _good(answer, "read", _SECRET)
        try:
            data = {
                key: base64.b64decode(value, validate=True)
                for key, value in (secret.get("data") or {}).items()
            }
        except (binascii.Error, ValueError) as error:
            raise ClusterError(f"cannot read {_SECRET}: {error}") from error
        return CaReading(CaSecret(data, secret["metadata"]["resourceVersion"]), at)

    def create_ca(self, data: Mapping[str, bytes]) -> bool:
        """Create the CA's Secret; False: another replica was first."""
        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "type": "Opaque",
            "metadata": {
                "name": names.CA_SECRET,
                "labels": {"app.kubernetes.io/name": names.INJECTOR},
            },
            "data": _encoded(data),
        }
        answer = self._ask("POST", self._secrets(), secret)
        if answer.status == HTTPStatus.CONFLICT:
            return False
        _good(answer, "create", _SECRET)
        return True

    def replace_ca(self, before: CaSecret, data: Mapping[str, bytes]) -> bool:
        """Write the Secret's content anew; False: it is no longer what we read before."""
        # A merge patch, so that others' labels and annotations stay (RFC 7396: null removes).
        patch = {
            "metadata": {"resourceVersion": before.version},
            "data": dict.fromkeys(before.data) | _encoded(data),
        }
        answer = self._ask(
            "PATCH",
            f"{self._secrets()}/{names.CA_SECRET}",
            patch,
            "application/merge-patch+json",
        )
        if answer.status in {HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND}:
            return False
        _good(answer, "patch", _SECRET)
        return True

    def ca_bundle(self) -> bytes:
        """Give what the API server trusts us by now: the first entry's caBundle, or nothing."""
        resource, name = _WEBHOOKS[0]
        answer = self._ask("GET", _path(resource, name))
        if answer.status == HTTPStatus.NOT_FOUND:
            return b""
        found = _good(answer, "read", f"{resource} `{name}`")
        for entry in found.get("webhooks") or ():
            return base64.b64decode(entry["clientConfig"].get("caBundle") or "")
        return b""

    def put_ca_bundle(self, pem: bytes) -> bool:
        """Write the CA into every entry of our webhooks that has another; False: all had it."""
        wanted = base64.b64encode(pem).decode()
        put = [self._put(resource, name, wanted) for resource, name in _WEBHOOKS]  # each one
        return any(put)

    def _put(self, resource: str, name: str, wanted: str) -> bool:
        path, what = _path(resource, name), f"{resource} `{name}`"
        found = _good(self._ask("GET", path), "read", what)
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
            answer = self._ask("PATCH", path, operations, "application/json-patch+json")
            _good(answer, "patch", what)
        return bool(operations)

    def _secrets(self) -> str:
        return f"/api/v1/namespaces/{self.namespace}/secrets"

    def _ask(
        self, method: str, path: str, body: object = None, content_type: str = "application/json"
    ) -> _Answer:
        headers = {"Accept": "application/json", "Content-Type": content_type}
        prepared = self.api.param_serialize(
            method, path, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        try:
            response = self.api.call_api(*prepared, _request_timeout=_TIMEOUT)
            said = response.read()
        except (HTTPError, ApiException) as error:
            # The client makes an ApiException of a certificate that it does not trust.
            words = " ".join(str(getattr(error, "reason", None) or error).split())
            raise ClusterError(f"the API server does not answer: {words}") from error
        try:
            decoded = json.loads(said)
        except ValueError:
            decoded = None
        date = response.headers.get("Date", "")
        return _Answer(response.status, response.reason or "", date, decoded)


def _path(resource: str, name: str) -> str:
    return f"/apis/admissionregistration.k8s.io/v1/{resource}/{name}"


def _encoded(data: Mapping[str, bytes]) -> dict[str, str]:
    return {key: base64.b64encode(value).decode() for key, value in data.items()}


def _good(answer: _Answer, verb: str, what: str) -> dict[str, Any]:
    """Give the object of an answer that is one; raise ClusterError, in words, for any other."""
    if 200 <= answer.status <= 299 and isinstance(answer.body, dict):
        return answer.body
    hints: dict[int, str] = {
        HTTPStatus.NOT_FOUND: "; apply the manifests",
        HTTPStatus.FORBIDDEN: "; apply the manifests' RBAC",
    }
    hint = hints.get(answer.status, "")
    raise ClusterError(f"cannot {verb} {what}: {answer.status} {answer.reason}{hint}")


def in_cluster(namespace: str) -> CaStore:
    """Reach the API server as the pod's service account; its token is read anew as it rotates."""
    configuration = client.Configuration()
    try:
        # The client's own function has no types.
        load_incluster_config(configuration)  # type: ignore[no-untyped-call]
    except ConfigException as error:
        raise ClusterError(f"this is no pod with a service account: {error}") from error
    # Whoever asks asks again later; a call that goes on trying would outlast a stopping replica.
    configuration.retries = 0
    return CaStore(client.ApiClient(configuration), namespace)
