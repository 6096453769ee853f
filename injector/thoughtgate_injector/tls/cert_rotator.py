"""Rotates the certificates: one CA for all replicas, a short-lived leaf, the webhooks' caBundle.

The time is the API server's own, from its answers: it alone judges our certificates, and a node
whose clock is wrong must neither serve a leaf that is not valid yet nor take a CA for one that has
ended.
"""

import asyncio
import datetime as dt
import logging
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from thoughtgate_injector.core import names
from thoughtgate_injector.kube.client import KubeError
from thoughtgate_injector.tls import certificates
from thoughtgate_injector.tls.ca_store import CaStore
from thoughtgate_injector.tls.certificates import (
    Authorities,
    Authority,
    Leaf,
    UnusableAuthorityError,
    new_authority,
)

logger = logging.getLogger(__name__)

INTERVAL: Final = 10.0  # seconds between two looks at the Secret and the webhook
_RETRY: Final = 2.0  # seconds, until the first look has succeeded


@dataclass(slots=True)
class CertRotator:
    """The serving certificate of a replica, and the caBundle by which the API server trusts it.

    INVARIANT: the Secret decides. Whoever finds another CA there than its own takes that one, so
    that replicas that disagree for a moment agree after INTERVAL.
    """

    store: CaStore
    hosts: Sequence[str]
    expires: Callable[[str, dt.datetime], None]
    """Called with the name (`ca`, `leaf`) and expiry of each certificate that comes into use."""
    told: Callable[[str | None], None]
    """Called after each reconciliation with what failed, or None."""
    context: ssl.SSLContext = field(default_factory=certificates.server_context)
    _authorities: Authorities | None = None
    _signer: Authority | None = None
    _leaf: Leaf | None = None
    _now: dt.datetime | None = None

    async def serve(self) -> None:
        """Load a first certificate; tries until it succeeds."""
        while True:
            try:
                self._renew(*await self._agreed())
            except (KubeError, UnusableAuthorityError) as error:
                logger.warning("no certificate yet: %s", error)
                self.told(str(error))
                await asyncio.sleep(_RETRY)
            else:
                return

    async def keep(self) -> None:
        """Reconcile until cancelled."""
        while True:
            pause = INTERVAL
            try:
                await self._look()
            except (KubeError, UnusableAuthorityError) as error:
                # Soon again: a webhook that was taken away and comes back refuses until then.
                pause = _RETRY
                # The leaf that is served has days left.
                logger.warning("trust is not renewed: %s", error)
                self.told(str(error))
            else:
                self.told(None)
            await asyncio.sleep(pause)

    async def _look(self) -> None:
        try:
            authorities, now = await self._agreed()
        except UnusableAuthorityError:
            if self._authorities is not None and self._now is not None:
                self._renew(self._authorities, self._now)
            raise
        try:
            # Before the leaf, so that the API server never meets one that it does not trust yet.
            if await self.store.put_ca_bundle(authorities.bundle(now)):
                logger.info("the webhook's caBundle is in place")
        finally:
            self._renew(authorities, now)

    def _renew(self, authorities: Authorities, now: dt.datetime) -> None:
        signer = authorities.signer(now)
        changed = self._signer is None or signer.pem() != self._signer.pem()
        if changed or self._leaf is None or self._leaf.due(now):
            leaf = certificates.new_leaf(signer, self.hosts, now)
            certificates.load(self.context, leaf)
            self._signer, self._leaf = signer, leaf
            self.expires("leaf", leaf.not_after)
            logger.info("a new certificate is served until %s", leaf.not_after.isoformat())
        self._authorities = authorities
        self.expires("ca", authorities.newest.certificate.not_valid_after_utc)

    async def _agreed(self) -> tuple[Authorities, dt.datetime]:
        """Give the CAs of the Secret, and the time; if there is no Secret, create it."""
        found = await self.store.read_ca()
        self._now = found.at
        if found.stored is None:
            offered = self._authorities or await self._first(found.at)
            if await self.store.create_ca(offered.data()):
                return offered, found.at
            found = await self.store.read_ca()
        if found.stored is None:
            raise KubeError(0, f"secret `{names.CA_SECRET}` was there, and is not")
        try:
            authorities = certificates.authorities_from(found.stored.data)
            if authorities.due(found.at) or certificates.ROTATE_KEY in found.stored.data:
                rotated = authorities.rotated(found.at)
                if await self.store.replace_ca(found.stored, rotated.data()):
                    logger.info("a new CA is announced")
                    return rotated, found.at
                # Another replica was first, and this one reads the result at its next look.
            authorities.signer(found.at)
        except UnusableAuthorityError as error:
            raise UnusableAuthorityError(
                f"secret `{names.CA_SECRET}` holds no usable CA: {error}; delete it, and a new "
                "one is made"
            ) from error
        return authorities, found.at

    async def _first(self, now: dt.datetime) -> Authorities:
        """Make a CA; the CAs of the current caBundle stay trusted beside it.

        Other replicas may be running, and the Secret have been deleted under them.
        """
        try:
            retired = certificates.certificates_from(await self.store.ca_bundle())
        except UnusableAuthorityError:
            retired = ()  # somebody's placeholder, which no leaf is of
        return Authorities(new_authority(now), retired=retired)
