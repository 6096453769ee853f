"""Puts the watchdog together and runs it; and `outdated`, which looks once."""

import asyncio
import datetime as dt
import logging
import signal
import sys
import time
from importlib.metadata import version

import msgspec

from thoughtgate_injector import log, probes
from thoughtgate_injector.core import names, settings
from thoughtgate_injector.core.evictions import Evictions
from thoughtgate_injector.core.pod_summary import SidecarState
from thoughtgate_injector.core.refusal import Refusal
from thoughtgate_injector.core.review import Reviewer
from thoughtgate_injector.core.settings import Settings
from thoughtgate_injector.kube.client import KubeClient, KubeError, by_kubeconfig, in_cluster
from thoughtgate_injector.kube.informer import GoneError
from thoughtgate_injector.watchdog import restarts as listing
from thoughtgate_injector.watchdog.watchdog import Watchdog

logger = logging.getLogger(__name__)

_SETTINGS_PATH = f"/api/v1/namespaces/{names.NAMESPACE}/configmaps/{names.INJECTOR}"


def run(
    found: Settings, *, evict: frozenset[SidecarState], interval: float, health_port: int
) -> int:
    """Run the watchdog in a cluster; 0 after SIGTERM, 1 where it cannot start."""
    log.configure()
    try:
        kube = in_cluster()
    except KubeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    watchdog = Watchdog(
        kube,
        Reviewer(found, version("thoughtgate")),
        Evictions(evict, interval),
        time.monotonic,
        _now,
    )
    asyncio.run(_serve(watchdog, health_port))
    logger.info("stopped")
    return 0


async def _serve(watchdog: Watchdog, health_port: int) -> None:
    stop = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stop.set)
    async with probes.serve(None, health_port, watchdog, watchdog.metrics.text):
        await watchdog.operate(stop)


def outdated(found: Settings | None, context: str | None) -> int:
    """Print the workloads to restart; 1 where the cluster cannot be asked."""
    try:
        kube = by_kubeconfig(context)
        known = _settings(kube) if found is None else found
        if isinstance(known, Refusal):
            for reason in known.reasons:
                print(f"error: {reason}", file=sys.stderr)
            return 1
        ledger = listing.read(kube, Reviewer(known, version("thoughtgate")))
    except (KubeError, GoneError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for group in listing.groups(ledger.statuses()):
        print(group.line())
    return 0


def _settings(kube: KubeClient) -> Settings | Refusal:
    document = msgspec.json.decode(kube.get(_SETTINGS_PATH))
    return settings.read(document.get("data") or {})


def _now() -> str:
    return dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
