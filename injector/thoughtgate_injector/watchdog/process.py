"""The command `watch`, a process; and the command `outdated`, which lists once."""

import asyncio
import datetime as dt
import logging
import time
from importlib.metadata import version

import msgspec

from thoughtgate_injector import log, probes, signals
from thoughtgate_injector.console import fail
from thoughtgate_injector.core import names, settings
from thoughtgate_injector.core.evictions import Evictions
from thoughtgate_injector.core.pod_summary import SidecarState
from thoughtgate_injector.core.refusal import Refusal
from thoughtgate_injector.core.review import Reviewer
from thoughtgate_injector.core.settings import Settings
from thoughtgate_injector.kube.client import KubeError, by_kubeconfig, in_cluster
from thoughtgate_injector.kube.informer import GoneError
from thoughtgate_injector.watchdog import restarts
from thoughtgate_injector.watchdog.restarts import RestartGroup
from thoughtgate_injector.watchdog.watchdog import TIME_FORMAT, Watchdog

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
        return fail([str(error)])
    watchdog = Watchdog(
        kube,
        Reviewer(found, version("thoughtgate")),
        Evictions(evict, interval),
        time.monotonic,
        lambda: dt.datetime.now(dt.UTC).strftime(TIME_FORMAT),
    )
    asyncio.run(_serve(watchdog, health_port))
    logger.info("stopped")
    return 0


async def _serve(watchdog: Watchdog, health_port: int) -> None:
    stop = asyncio.Event()
    signals.stop_on_signals(stop)
    async with probes.serve(None, health_port, watchdog, watchdog.metrics.text):
        await watchdog.operate(stop)


def outdated(found: Settings | None, context: str | None) -> int:
    """Print the workloads to restart; 1 where the cluster cannot be asked."""
    try:
        groups = asyncio.run(_outdated(found, context))
    except (KubeError, GoneError) as error:
        return fail([str(error)])
    if isinstance(groups, Refusal):
        return fail(groups.reasons)
    for group in groups:
        print(group.line())
    return 0


async def _outdated(found: Settings | None, context: str | None) -> list[RestartGroup] | Refusal:
    kube = await by_kubeconfig(context)
    try:
        if found is None:
            document = msgspec.json.decode(await kube.get(_SETTINGS_PATH))
            read = settings.read(document.get("data") or {})
            if isinstance(read, Refusal):
                return read
            found = read
        index = await restarts.read(kube, Reviewer(found, version("thoughtgate")))
    finally:
        await kube.close()
    return list(restarts.groups(index.statuses()))
