"""The one client of the Kubernetes API: plain requests by the official package's async client.

Its typed models are not used: those of a list of pods take ten times the memory of its text.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
import msgspec
from kubernetes.aio.client import ApiClient, Configuration
from kubernetes.aio.client.exceptions import ApiException
from kubernetes.aio.config.config_exception import ConfigException
from kubernetes.aio.config.incluster_config import load_incluster_config
from kubernetes.aio.config.kube_config import load_kube_config

# No retries: every caller asks again later, and a retry would delay the end of a process.
_TIMEOUT: Final = aiohttp.ClientTimeout(total=30.0, sock_connect=5.0)
_BUFFER: Final = 2**16  # bytes of a response that are read ahead; the package reads up to 4 MiB
_LONGEST_LINE: Final = 8 * 2**20  # bytes; an object has 3 MiB at most


class KubeError(Exception):
    """The API server could not be asked, or said no; `status` is 0 where nobody answered."""

    def __init__(self, status: int, words: str) -> None:
        self.status = status
        super().__init__(words)


@dataclass(frozen=True, slots=True)
class KubeReply:
    """An answer of the API server, whatever its status."""

    status: int
    reason: str
    date: str
    """The time by the API server's clock, as HTTP writes it; empty: it has none."""
    body: bytes

    def good(self, what: str) -> bytes:
        """Give the body of an answer of success; raise KubeError, about `what`, for any other."""
        if 200 <= self.status <= 299:
            return self.body
        try:
            words = str(msgspec.json.decode(self.body)["message"])
        except (msgspec.MsgspecError, UnicodeError, KeyError, TypeError):
            words = self.reason
        raise KubeError(self.status, f"{what}: {self.status} {words}")


@dataclass(frozen=True, slots=True)
class KubeAccess:
    """The API server's address and our credentials."""

    server: str
    ca_path: str | None
    token: str | None


@dataclass(frozen=True, slots=True)
class KubeClient:
    """One API server; `close` ends its connections."""

    api: Any
    """The package's `ApiClient`, which authenticates and keeps the connections."""

    async def get(self, path: str, query: Mapping[str, str | int] | None = None) -> bytes:
        """Give the body of a good answer; raise KubeError for any other."""
        return (await self.ask("GET", _with(path, query))).good(path)

    async def ask(
        self, method: str, path: str, body: object = None, content_type: str = "application/json"
    ) -> KubeReply:
        """Give the answer, whatever it is. Raises KubeError where there is none."""
        try:
            async with await self._send(method, path, _TIMEOUT, body, content_type) as response:
                date = response.headers.get("Date", "")
                said = await response.read()
                return KubeReply(response.status, response.reason or "", date, said)
        except (aiohttp.ClientError, OSError) as error:
            raise _unreachable(error) from error

    async def lines(
        self, path: str, query: Mapping[str, str | int], silence: float
    ) -> AsyncGenerator[bytes, None]:
        """Give the lines of a response as they come; `silence` seconds without a byte end it."""
        limits = aiohttp.ClientTimeout(sock_connect=5.0, sock_read=silence)
        try:
            async with await self._send("GET", _with(path, query), limits) as response:
                if response.status != HTTPStatus.OK:
                    said = await response.read()
                    KubeReply(response.status, response.reason or "", "", said).good(path)
                async for line in _split(response.content.iter_any()):
                    yield line
        except (aiohttp.ClientError, OSError) as error:
            raise _unreachable(error) from error

    async def access(self) -> KubeAccess:
        """Give what another client needs, with the current token."""
        found = self.api.configuration
        header = await found.get_api_key_with_prefix("BearerToken", "authorization")
        token = header.partition(" ")[2] if header else None  # after the word "bearer"
        return KubeAccess(found.host, found.ssl_ca_cert, token)

    async def close(self) -> None:
        """End the connections."""
        await self.api.close()

    async def _send(
        self,
        method: str,
        path: str,
        limits: aiohttp.ClientTimeout,
        body: object = None,
        content_type: str = "application/json",
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": "application/json", "Content-Type": content_type}
        try:
            prepared = await self.api.param_serialize(
                method, path, header_params=headers, body=body, auth_settings=["BearerToken"]
            )
            reply = await self.api.call_api(*prepared, _request_timeout=limits)
        except (ApiException, ConfigException) as error:  # such as a token file that is empty
            raise _unreachable(error) from error
        response: aiohttp.ClientResponse = reply.response
        return response


def client(configuration: Any) -> KubeClient:
    """Make a client from a configuration of the package."""
    configuration.client_session_kwargs = {"read_bufsize": _BUFFER}
    # As kubectl: from Python 3.13 on the strict check refuses some clusters' own CAs.
    configuration.disable_strict_ssl_verification = True
    return KubeClient(ApiClient(configuration))


def in_cluster() -> KubeClient:
    """Make a client with the pod's service account; its token is read again as it rotates.

    Raises KubeError.
    """
    configuration = Configuration()
    try:
        # The package's own function has no types.
        load_incluster_config(configuration)  # type: ignore[no-untyped-call]
    except ConfigException as error:
        raise KubeError(0, f"this is no pod with a service account: {error}") from error
    return client(configuration)


async def by_kubeconfig(context: str | None) -> KubeClient:
    """Make a client from the kubeconfig, or, in a pod without one, with its service account."""
    configuration = Configuration()
    try:
        # The package's own function has no types.
        await load_kube_config(  # type: ignore[no-untyped-call]
            context=context, client_configuration=configuration
        )
    except ConfigException as error:
        try:
            return in_cluster()
        except KubeError:
            raise KubeError(0, f"no kubeconfig can be used: {error}") from error
    return client(configuration)


def _with(path: str, query: Mapping[str, str | int] | None) -> str:
    return f"{path}?{urlencode(query)}" if query else path


async def _split(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    rest = bytearray()
    async for chunk in chunks:
        rest += chunk
        *whole, last = rest.split(b"\n")
        for line in whole:
            if line:
                yield bytes(line)
        rest = last
        if len(rest) > _LONGEST_LINE:
            raise KubeError(0, f"the API server sends a line of more than {_LONGEST_LINE} bytes")


def _unreachable(error: Exception) -> KubeError:
    words = " ".join(str(getattr(error, "reason", None) or error).split()) or type(error).__name__
    return KubeError(0, f"the API server does not answer: {words}")
