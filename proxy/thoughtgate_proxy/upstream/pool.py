"""Sends what a Permit allows to a source's server, over a small pool of connections."""

import asyncio
import ssl
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from thoughtgate_proxy.core.bounded_cache import BoundedCache
from thoughtgate_proxy.core.config.values import Source
from thoughtgate_proxy.core.memory_budget import Budget
from thoughtgate_proxy.core.policy.permit import Permit
from thoughtgate_proxy.core.protocol.headers import Head
from thoughtgate_proxy.runtime import forward_proxy
from thoughtgate_proxy.upstream import tls, tunnel
from thoughtgate_proxy.upstream.connection import IDLE_SECONDS, UpstreamConnection
from thoughtgate_proxy.upstream.credentials import CredentialMissing, SourceHeaders
from thoughtgate_proxy.upstream.errors import UpstreamError, UpstreamTimedOut
from thoughtgate_proxy.upstream.response_body import ReplyReceiver
from thoughtgate_proxy.upstream.response_head import ResponseHeads

_MOST_IDLE = 128


class UpstreamPool:
    """The connections to one source."""

    def __init__(
        self, source: Source, folder: Path, environ: Mapping[str, str], budget: Budget
    ) -> None:
        """`folder` is where relative paths start; what waits of replies is charged to `budget`.

        Raises `CredentialMissing`, `TrustMissing`, `ProxyWrong`.
        """
        url = urlsplit(source.url)
        self._source, self.budget = source, budget
        self._credentials = SourceHeaders(source, folder, environ)
        self._tls: ssl.SSLContext | None = None
        if url.scheme == "https":
            ca_file = folder / source.ca_file if source.ca_file else None
            self._tls = tls.context(ca_file, environ)
        assert url.hostname is not None  # noqa: S101  the configuration has only absolute URLs
        self._host, self._port = url.hostname, url.port or (443 if self._tls else 80)
        self._proxy: forward_proxy.ForwardProxy | None = None
        if self._tls and not forward_proxy.goes_direct(self._host, self._port, environ):
            self._proxy = forward_proxy.named(environ)
        self._authority = url.netloc.rpartition("@")[2].encode("latin-1")
        self._idle: list[UpstreamConnection] = []
        self._open: weakref.WeakSet[UpstreamConnection] = weakref.WeakSet()
        self._opening: set[asyncio.Task[UpstreamConnection | None]] = set()
        self._sweeper: asyncio.TimerHandle | None = None
        self._heads = ResponseHeads()
        self._begun = BoundedCache[tuple[str, str, Head], tuple[list[tuple[str, str]], bytes]](
            most=256, longest=8192
        )

    def send(self, permit: Permit, head: Head, receiver: ReplyReceiver) -> Callable[[], object]:
        """Send the permitted request with the headers of `head`, once; `receiver` gets the reply.

        The source's own headers win over the client's; `Host` and the length are ours. What it
        gives gives the request up, and tells nobody; it is for the time before the reply. Raises
        `UpstreamError` if it cannot even be tried.
        """
        if permit.source.id != self._source.id:
            raise ValueError(f"a permit for `{permit.source.id}`, not for `{self._source.id}`")
        try:
            own = self._credentials.current()
        except CredentialMissing as error:
            raise UpstreamError(str(error), sent=False) from error
        request = self._request(permit, head, own)
        connection = self._reuse()
        if connection is not None:
            connection.exchange(request, self._source.timeouts.response, receiver)
            return connection.abort
        opening = asyncio.get_running_loop().create_task(self._open_for(request, receiver))
        self._opening.add(opening)
        opening.add_done_callback(self._opening.discard)
        return partial(_abandon, opening)

    def close(self) -> None:
        """Close the idle connections; those in use end with their replies."""
        for connection in self._idle:
            connection.abort()
        self._idle.clear()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    def stop(self) -> None:
        """Close those in use as well: their requests and streams are told that we end."""
        self.close()
        for connection in list(self._open):
            connection.stop()

    def _request(self, permit: Permit, head: Head, own: list[tuple[str, str]]) -> bytes:
        key = permit.method, permit.target, head
        known = self._begun.get(key)
        if known is None or known[0] != own:
            known = own, self._beginning(permit, head, own)
            self._begun.put(key, known, len(known[1]))
        if permit.method != "POST":
            return b"%b\r\n\r\n" % known[1]
        return b"%b\r\ncontent-length: %d\r\n\r\n%b" % (
            known[1], len(permit.body), permit.body
        )  # fmt: skip

    def _beginning(self, permit: Permit, head: Head, own: list[tuple[str, str]]) -> bytes:
        """The request line and all headers but the length."""
        lines = [f"{permit.method} {permit.target} HTTP/1.1\r\nhost: ".encode("latin-1")]
        lines.append(self._authority)
        if own:
            replaced = self._credentials.names
            # An underscore is a hyphen to CGI and its like, and must not bring a second value.
            kept = [line for line in head.upstream if line[0].replace("_", "-") not in replaced]
            lines += [f"\r\n{name}: {value}".encode("latin-1") for name, value in (*kept, *own)]
        else:
            lines.append(head.encoded)
        return b"".join(lines)

    def _reuse(self) -> UpstreamConnection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable():
                return connection
            connection.abort()
        return None

    def _keep(self, connection: UpstreamConnection) -> None:
        if len(self._idle) >= _MOST_IDLE:
            connection.abort()
            return
        self._idle.append(connection)
        if self._sweeper is None:
            self._sweeper = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle too long, so that the server need not."""
        self._sweeper = None
        old, self._idle = self._idle, []
        for connection in old:
            if connection.expired():
                connection.abort()
            else:
                self._idle.append(connection)
        if self._idle:
            self._sweeper = asyncio.get_running_loop().call_later(IDLE_SECONDS, self._sweep)

    async def _open_for(self, request: bytes, receiver: ReplyReceiver) -> UpstreamConnection | None:
        try:
            connection = await self._connect()
        except UpstreamError as error:
            receiver.failed(error)
            return None
        connection.exchange(request, self._source.timeouts.response, receiver)
        return connection

    async def _connect(self) -> UpstreamConnection:
        limit = self._source.timeouts.connect
        try:
            async with asyncio.timeout(limit):
                peer: dict[str, Any] = {"host": self._host, "port": self._port}
                if self._proxy is not None:
                    peer = {"sock": await tunnel.open_socket(self._proxy, self._host, self._port)}
                _, connection = await asyncio.get_running_loop().create_connection(
                    lambda: UpstreamConnection(self._keep, self._heads, self.budget),
                    **peer,
                    ssl=self._tls,
                    server_hostname=self._host if self._tls else None,
                    # Not its own limit, which may be less than ours.
                    ssl_handshake_timeout=limit if self._tls else None,
                )
        except TimeoutError as error:
            raise UpstreamTimedOut(f"no connection within {limit:g} s", sent=False) from error
        except OSError as error:  # ssl.SSLError is one
            raise UpstreamError(f"no connection: {tls.reason(error)}", sent=False) from error
        self._open.add(connection)
        return connection


def _abandon(opening: "asyncio.Task[UpstreamConnection | None]") -> None:
    if not opening.cancel() and (connection := opening.result()) is not None:
        connection.abort()
