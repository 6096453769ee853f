"""The one place where the parts are put together, and run."""

import asyncio
import logging
import os
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import kopf

from thoughtgate_injector import log, probes
from thoughtgate_injector.core import names
from thoughtgate_injector.core.review import Reviewer
from thoughtgate_injector.core.settings import Settings
from thoughtgate_injector.tls.ca_store import CaStore, ClusterError, in_cluster
from thoughtgate_injector.tls.cert_rotator import CertRotator
from thoughtgate_injector.webhook import server
from thoughtgate_injector.webhook.config_check import ConfigChecker
from thoughtgate_injector.webhook.config_maps import ConfigMapWebhook
from thoughtgate_injector.webhook.metrics import ReviewMetrics
from thoughtgate_injector.webhook.pods import PodWebhook, register
from thoughtgate_injector.webhook.server import Health

logger = logging.getLogger(__name__)

_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(slots=True)
class Injector:
    """All of one replica; `operate` runs it."""

    settings: Settings
    cluster: CaStore
    login: Callable[[], kopf.ConnectionInfo]
    """How kopf reaches the API server, which it asks once what `pods` are."""
    version: str
    host: str | None = None
    port: int = names.WEBHOOK_PORT
    health_port: int = names.HEALTH_PORT
    drain: float = server.DRAIN
    health: Health = field(default_factory=Health)
    metrics: ReviewMetrics = field(default_factory=ReviewMetrics)
    bound: tuple[int, int] = (0, 0)
    """The ports in use, of reviews and of probes, once they are."""

    async def operate(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, and the drain is over; SIGTERM and SIGINT set it."""
        _on_signals(stop)
        # Else kopf looks the uid up in passwd, where it need not be.
        os.environ.setdefault("POD_ID", names.INJECTOR)
        async with probes.serve(
            self.host, self.health_port, self.health, self.metrics.text
        ) as port:
            self.bound = (0, port)
            await kopf.operator(
                registry=self._registry(),
                settings=self._kopf_settings(stop),
                standalone=True,
                clusterwide=True,
                stop_flag=stop,
            )

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()
        kopf.on.login(registry=registry, id="login")(lambda **_: self.login())
        register(registry, Reviewer(self.settings, self.version))
        return registry

    def _kopf_settings(self, stop: asyncio.Event) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        settings.admission.managed = None
        settings.admission.server = partial(self._server, stop)
        settings.scanning.disabled = True
        settings.posting.enabled = False
        settings.process.ultimate_exiting_timeout = None
        return settings

    async def _server(self, stop: asyncio.Event, function: Any) -> AsyncIterator[Any]:
        """Serve as kopf's admission server; it is cancelled when the operator stops."""
        # kopf has put its own handlers in place of ours by now. A stop by those leaves kopf's
        # waiter for `stop` hanging, and kopf waits five seconds for that at its end.
        _on_signals(stop)
        trust = CertRotator(
            cluster=self.cluster,
            hosts=hosts(self.cluster.namespace),
            expires=self.metrics.expires,
            told=self._told,
        )
        await trust.serve()
        webhook = PodWebhook(function, self.metrics, time.perf_counter)
        configs = ConfigMapWebhook(ConfigChecker(), self.metrics, time.perf_counter)
        answers = {**webhook.answers(), names.CONFIG_PATH: configs.answer}
        async with server.reviews(
            self.host, self.port, trust.context, answers, self.health, self.drain
        ) as port:
            self.bound = (port, self.bound[1])
            yield {}  # the MutatingWebhookConfiguration is static: kopf has nothing to write
            await trust.keep()

    def _told(self, trouble: str | None) -> None:
        if trouble is None:
            self.health.trusted = True
        else:
            self.metrics.trust_failed()
        self.health.trouble = trouble


def run(settings: Settings, *, port: int, health_port: int) -> int:
    """Run a replica in a cluster; 0 after SIGTERM, 1 where it cannot start."""
    log.configure()
    try:
        cluster = in_cluster(os.environ.get("POD_NAMESPACE") or names.NAMESPACE)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    injector = Injector(
        settings, cluster, login, version("thoughtgate"), port=port, health_port=health_port
    )
    asyncio.run(_run(injector))
    logger.info("stopped")
    return 0


async def _run(injector: Injector) -> None:
    await injector.operate(asyncio.Event())


def _on_signals(stop: asyncio.Event) -> None:
    """Set `stop` on a signal; the first process of a container ignores those without a handler."""
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)


def login() -> kopf.ConnectionInfo:
    """Reach the API server by its address: kopf's own login needs the cluster's DNS."""
    host = os.environ["KUBERNETES_SERVICE_HOST"]
    address = f"[{host}]" if ":" in host else host
    return kopf.ConnectionInfo(
        server=f"https://{address}:{os.environ['KUBERNETES_SERVICE_PORT']}",
        ca_path=str(_ACCOUNT / "ca.crt"),
        scheme="Bearer",
        token=(_ACCOUNT / "token").read_text().strip(),
    )


def hosts(namespace: str) -> tuple[str, ...]:
    """Give the DNS names of our Service; the API server asks for `<service>.<namespace>.svc`."""
    service = f"{names.INJECTOR}.{namespace}"
    return (f"{service}.svc", f"{service}.svc.cluster.local", service)
