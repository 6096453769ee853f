"""Plain requests to the API server through the official client, without its typed models.

The models of a list of pods would take ten times the memory of its text. The calls block; they
belong into a thread.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

from kubernetes import client
from kubernetes.client.exceptions import ApiException
from kubernetes.config.config_exception import ConfigException
from kubernetes.config.incluster_config import load_incluster_config
from kubernetes.config.kube_config import load_kube_config
from urllib3.exceptions import HTTPError

_CONNECT: Final = 5.0  # seconds
_READ: Final = 30.0  # seconds
_LONGEST_LINE: Final = 8 * 2**20  # bytes; an object has 3 MiB at most


class KubeError(Exception):
    """The API server could not be asked, or said no; `status` is 0 where nobody answered."""

    def __init__(self, status: int, words: str) -> None:
        self.status = status
        super().__init__(words)


@dataclass(frozen=True, slots=True)
class KubeClient:
    """One API server."""

    api: Any

    def get(self, path: str, query: Mapping[str, str | int] | None = None) -> bytes:
        """Give the body of a good answer; raise KubeError for any other."""
        response = self._ask("GET", path, query, (_CONNECT, _READ))
        body: bytes = response.read()
        self._good(response, body, path)
        return body

    def lines(self, path: str, query: Mapping[str, str | int], read: float) -> Iterator[bytes]:
        """Give the lines of an answer as they come; `read` seconds without any end it."""
        response = self._ask("GET", path, query, (_CONNECT, read))
        raw = response.response
        try:
            if response.status != HTTPStatus.OK:
                self._good(response, response.read(), path)
            yield from _split(raw.stream(2**16, decode_content=True))
        except HTTPError as error:
            raise KubeError(0, _unreachable(error)) from error
        finally:
            # What is left of it is not read: the connection cannot be used again.
            raw.close()

    def post(self, path: str, body: Mapping[str, Any]) -> str:
        """Send an object; give the time of the API server's answer, as it writes times."""
        response = self._ask("POST", path, None, (_CONNECT, _READ), body)
        self._good(response, response.read(), path)
        at = parsedate_to_datetime(response.headers["Date"])
        return at.strftime("%Y-%m-%dT%H:%M:%SZ")

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int] | None,
        timeout: tuple[float, float],
        body: Mapping[str, Any] | None = None,
    ) -> Any:
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        prepared = self.api.param_serialize(
            method,
            f"{path}?{urlencode(query)}" if query else path,
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            return self.api.call_api(*prepared, _request_timeout=timeout)
        except (HTTPError, ApiException) as error:
            # The client makes an ApiException of a certificate that it does not trust.
            raise KubeError(0, _unreachable(error)) from error

    @staticmethod
    def _good(response: Any, body: bytes, path: str) -> None:
        if 200 <= response.status <= 299:
            return
        try:
            words = str(json.loads(body)["message"])
        except (ValueError, KeyError, TypeError):
            words = str(response.reason or "")
        raise KubeError(response.status, f"{path}: {response.status} {words}")


def in_cluster() -> KubeClient:
    """Reach the API server as the pod's service account. Raises KubeError."""
    configuration = client.Configuration()
    try:
        # The client's own function has no types.
        load_incluster_config(configuration)  # type: ignore[no-untyped-call]
    except ConfigException as error:
        raise KubeError(0, f"this is no pod with a service account: {error}") from error
    configuration.retries = 0
    return KubeClient(client.ApiClient(configuration))


def by_kubeconfig(context: str | None) -> KubeClient:
    """Reach the API server as `kubectl` does, or in a pod as its service account."""
    configuration = client.Configuration()
    try:
        # The client's own function has no types.
        load_kube_config(  # type: ignore[no-untyped-call]
            context=context, client_configuration=configuration
        )
    except ConfigException as error:
        try:
            return in_cluster()
        except KubeError:
            raise KubeError(0, f"no kubeconfig can be used: {error}") from error
    return KubeClient(client.ApiClient(configuration))


def _split(chunks: Iterator[bytes]) -> Iterator[bytes]:
    rest = bytearray()
    for chunk in chunks:
        rest += chunk
        *whole, last = rest.split(b"\n")
        for line in whole:
            if line:
                yield bytes(line)
        rest = last
        if len(rest) > _LONGEST_LINE:
            raise KubeError(0, f"the API server sends a line of more than {_LONGEST_LINE} bytes")


def _unreachable(error: Exception) -> str:
    words = " ".join(str(getattr(error, "reason", None) or error).split())
    return f"the API server does not answer: {words}"
