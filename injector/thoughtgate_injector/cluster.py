"""What the injector reads and writes in its cluster: the CA's Secret and its own webhook.

These calls block; they belong into a thread.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from kubernetes.config.incluster_config import load_incluster_config
from urllib3.exceptions import HTTPError

from thoughtgate_injector.core import names

_TIMEOUT: Final = 5.0  # seconds


class ClusterError(Exception):
    """The API server could not be asked, or said no; the words say what and why."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """One API server; `namespace` is the injector's own."""

    api: Any
    namespace: str

    def read_ca(self) -> dict[str, bytes] | None:
        """Give the content of the CA's Secret; None where there is none."""
        try:
            secret = client.CoreV1Api(self.api).read_namespaced_secret(
                names.CA_SECRET, self.namespace, _request_timeout=_TIMEOUT
            )
        except ApiException as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise self._failed("read", f"secret `{names.CA_SECRET}`", error) from error
        except HTTPError as error:
            raise self._unreachable(error) from error
        return {key: base64.b64decode(value) for key, value in (secret.data or {}).items()}

    def create_ca(self, data: Mapping[str, bytes]) -> bool:
        """Create the CA's Secret; False: another replica was first."""
        secret = client.V1Secret(
            metadata=client.V1ObjectMeta(
                name=names.CA_SECRET, labels={"app.kubernetes.io/name": names.INJECTOR}
            ),
            type="Opaque",
            data={key: base64.b64encode(value).decode() for key, value in data.items()},
        )
        try:
            client.CoreV1Api(self.api).create_namespaced_secret(
                self.namespace, secret, _request_timeout=_TIMEOUT
            )
        except ApiException as error:
            if error.status == HTTPStatus.CONFLICT:
                return False
            raise self._failed("create", f"secret `{names.CA_SECRET}`", error) from error
        except HTTPError as error:
            raise self._unreachable(error) from error
        return True

    def put_ca_bundle(self, pem: bytes) -> bool:
        """Write the CA into every entry of our webhook that has another; False: all had it."""
        admission = client.AdmissionregistrationV1Api(self.api)
        wanted = base64.b64encode(pem).decode()
        try:
            found = admission.read_mutating_webhook_configuration(
                names.INJECTOR, _request_timeout=_TIMEOUT
            )
            operations = [
                operation
                for index, webhook in enumerate(found.webhooks or ())
                if webhook.client_config.ca_bundle != wanted
                for operation in (
                    # The list may have changed since we read it: an index alone proves nothing.
                    {"op": "test", "path": f"/webhooks/{index}/name", "value": webhook.name},
                    {
                        "op": "add",
                        "path": f"/webhooks/{index}/clientConfig/caBundle",
                        "value": wanted,
                    },
                )
            ]
            if operations:
                admission.patch_mutating_webhook_configuration(
                    names.INJECTOR, operations, _request_timeout=_TIMEOUT
                )
        except ApiException as error:
            what = f"mutatingwebhookconfiguration `{names.INJECTOR}`"
            raise self._failed("read or patch", what, error) from error
        except HTTPError as error:
            raise self._unreachable(error) from error
        return bool(operations)

    @staticmethod
    def _failed(verb: str, what: str, error: ApiException) -> ClusterError:
        hint = {
            HTTPStatus.NOT_FOUND: "; apply the manifests",
            HTTPStatus.FORBIDDEN: "; apply the manifests' RBAC",
        }.get(error.status, "")
        return ClusterError(f"cannot {verb} {what}: {error.status} {error.reason}{hint}")

    @staticmethod
    def _unreachable(error: HTTPError) -> ClusterError:
        return ClusterError(f"the API server does not answer: {' '.join(str(error).split())}")


def in_cluster(namespace: str) -> Cluster:
    """Reach the API server as the pod's service account; its token is read anew as it rotates."""
    configuration = client.Configuration()
    try:
        # The client's own function has no types.
        load_incluster_config(configuration)  # type: ignore[no-untyped-call]
    except ConfigException as error:
        raise ClusterError(f"this is no pod with a service account: {error}") from error
    # Whoever asks asks again later; a call that goes on trying would outlast a stopping replica.
    configuration.retries = 0
    return Cluster(client.ApiClient(configuration), namespace)
