"""One replica of the injector: builds its parts once, and runs them."""

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version

from thoughtgate_injector import log, probes, signals
from thoughtgate_injector.console import fail
from thoughtgate_injector.core import names
from thoughtgate_injector.core.review import Reviewer
from thoughtgate_injector.core.settings import Settings
from thoughtgate_injector.core.verdict import Entry
from thoughtgate_injector.kube.client import KubeClient, KubeError, in_cluster
from thoughtgate_injector.tls.ca_store import CaStore
from thoughtgate_injector.tls.cert_rotator import CertRotator
from thoughtgate_injector.webhook import config_maps, kopf_bridge, pods, server
from thoughtgate_injector.webhook.config_check import ConfigChecker
from thoughtgate_injector.webhook.endpoint import Endpoint
from thoughtgate_injector.webhook.kopf_bridge import Review
from thoughtgate_injector.webhook.metrics import ReviewMetrics
from thoughtgate_injector.webhook.server import Answer, Health

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Injector:
    """One replica; `operate` runs it."""

    settings: Settings
    kube: KubeClient
    namespace: str
    version: str
    host: str | None = None
    port: int = names.WEBHOOK_PORT
    health_port: int = names.HEALTH_PORT
    drain: float = server.DRAIN
    checker: ConfigChecker = field(default_factory=ConfigChecker)
    health: Health = field(default_factory=Health)
    metrics: ReviewMetrics = field(default_factory=ReviewMetrics)
    bound: tuple[int, int] = (0, 0)
    """The ports that are bound, for reviews and for probes; 0 before that."""

    async def operate(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, and the drain is over; SIGTERM and SIGINT set it."""
        signals.stop_on_signals(stop)
        try:
            async with probes.serve(
                self.host, self.health_port, self.health, self.metrics.text
            ) as port:
                self.bound = (0, port)
                reviewer = Reviewer(self.settings, self.version)
                await kopf_bridge.operate(reviewer, self.kube, self._serve, stop)
        finally:
            await self.kube.close()

    async def _serve(self, review: Review) -> AsyncIterator[None]:
        """Serve reviews until cancelled; yields once they are served."""
        rotator = CertRotator(
            store=CaStore(self.kube, self.namespace),
            hosts=hosts(self.namespace),
            expires=self.metrics.expires,
            told=self._on_trust,
        )
        await rotator.serve()
        async with server.reviews(
            self.host, self.port, rotator.context, self._answers(review), self.health, self.drain
        ) as port:
            self.bound = (port, self.bound[1])
            yield
            await rotator.keep()

    def _answers(self, review: Review) -> Mapping[str, Answer]:
        """Give the handler of each path."""
        shared = (self.metrics, time.perf_counter)
        check = Endpoint(
            config_maps.ENTRY, "configmap", partial(config_maps.review, self.checker), *shared
        )
        reviews = {
            names.PATH_PREFIX + entry.value: Endpoint(
                entry.value, "pod", partial(pods.review, review, entry), *shared
            ).answer
            for entry in Entry
        }
        return {**reviews, names.CONFIG_PATH: check.answer}

    def _on_trust(self, trouble: str | None) -> None:
        if trouble is None:
            self.health.trusted = True
        else:
            self.metrics.trust_failed()
        self.health.trouble = trouble


def run(settings: Settings, *, port: int, health_port: int) -> int:
    """Run a replica in a cluster; 0 after SIGTERM, 1 where it cannot start."""
    log.configure()
    try:
        kube = in_cluster()
    except KubeError as error:
        return fail([str(error)])
    namespace = os.environ.get("POD_NAMESPACE") or names.NAMESPACE
    injector = Injector(
        settings, kube, namespace, version("thoughtgate"), port=port, health_port=health_port
    )
    asyncio.run(_run(injector))
    logger.info("stopped")
    return 0


async def _run(injector: Injector) -> None:
    await injector.operate(asyncio.Event())


def hosts(namespace: str) -> tuple[str, ...]:
    """Give the DNS names of our Service; the API server asks for `<service>.<namespace>.svc`."""
    service = f"{names.INJECTOR}.{namespace}"
    return (f"{service}.svc", f"{service}.svc.cluster.local", service)
