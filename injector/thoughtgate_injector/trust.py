"""Keeps the API server's trust in this replica: one CA for all, a fresh leaf, our caBundle."""

import asyncio
import datetime as dt
import logging
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from thoughtgate_injector import certificates
from thoughtgate_injector.certificates import Authority, Leaf, UnusableAuthorityError
from thoughtgate_injector.cluster import Cluster, ClusterError
from thoughtgate_injector.core import names

logger = logging.getLogger(__name__)

INTERVAL: Final = 30.0  # seconds between two looks at the Secret and the webhook
_RETRY: Final = 2.0  # seconds, until the first look has succeeded


@dataclass(slots=True)
class Trust:
    """The certificate that is served, and its standing in the cluster.

    INVARIANT: the Secret decides. Whoever finds another CA there than its own takes that one, so
    that replicas that disagree for a moment agree after INTERVAL.
    """

    cluster: Cluster
    hosts: Sequence[str]
    clock: Callable[[], dt.datetime]
    expires: Callable[[str, dt.datetime], None]
    """Told the name (`ca`, `leaf`) and the end of each certificate that comes into use."""
    context: ssl.SSLContext = field(default_factory=certificates.server_context)
    _authority: Authority | None = None
    _leaf: Leaf | None = None

    async def serve(self) -> None:
        """Make the context ready to serve; tries until it succeeds."""
        while True:
            try:
                await self._renew()
            except (ClusterError, UnusableAuthorityError) as error:
                logger.warning("no certificate yet: %s", error)
                await asyncio.sleep(_RETRY)
            else:
                return

    async def keep(self, trusted: Callable[[], None]) -> None:
        """Renew and repair for ever; `trusted` is called each time that all is in place."""
        placed = False
        while True:
            try:
                await self._renew()
                if await asyncio.to_thread(self.cluster.put_ca_bundle, self._pem()):
                    logger.info("the webhook's caBundle is in place")
            except (ClusterError, UnusableAuthorityError) as error:
                # What is served goes on being served: the leaf has days left.
                logger.warning("trust is not renewed: %s", error)
            else:
                placed = True
                trusted()
            await asyncio.sleep(INTERVAL if placed else _RETRY)

    async def _renew(self) -> None:
        authority = await asyncio.to_thread(self._agreed)
        changed = self._authority is None or authority.pem() != self._authority.pem()
        now = self.clock()
        if changed or self._leaf is None or self._leaf.due(now):
            leaf = certificates.new_leaf(authority, self.hosts, now)
            certificates.load(self.context, leaf)
            self._authority, self._leaf = authority, leaf
            self.expires("ca", authority.certificate.not_valid_after_utc)
            self.expires("leaf", leaf.not_after)
            logger.info("a new certificate is served until %s", leaf.not_after.isoformat())

    def _agreed(self) -> Authority:
        """Give the CA of the Secret; where there is none, offer ours and see who was first."""
        now = self.clock()
        data = self.cluster.read_ca()
        if data is None:
            offered = self._authority or certificates.new_authority(now)
            if self.cluster.create_ca(offered.data()):
                return offered
            data = self.cluster.read_ca()
        if data is None:
            raise ClusterError(f"secret `{names.CA_SECRET}` was there, and is not")
        try:
            return certificates.authority_from(data, now)
        except UnusableAuthorityError as error:
            raise UnusableAuthorityError(
                f"secret `{names.CA_SECRET}` holds no usable CA: {error}; delete it, and a new "
                "one is made"
            ) from error

    def _pem(self) -> bytes:
        if self._authority is None:
            raise UnusableAuthorityError("there is no CA yet")
        return self._authority.pem()
