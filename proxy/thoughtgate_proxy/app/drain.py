"""From SIGTERM to the end: the agent may still be working, and is served as long as it asks."""

import asyncio
import signal
import time
from collections.abc import Callable

from thoughtgate_proxy.app.request_metrics import RequestMetrics

_QUIET_SECONDS = 2.0
# What is left of the pod's grace period for the end itself.
_RESERVE_SECONDS = 5.0
_LOOK_SECONDS = 0.05


def stop_event() -> asyncio.Event:
    """Set by SIGTERM and SIGINT, which do nothing else from now on."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    return stop


async def until_quiet(requests: RequestMetrics, held: Callable[[], int], grace: float) -> None:
    """Wait until nothing was asked for a while, or the pod's `grace` (seconds) is nearly over.

    `held` gives how many of the requests wait for a human: whoever sent them asks for nothing now,
    and can come back.
    """
    begun = time.monotonic()
    most = max(0.0, grace - _RESERVE_SECONDS)
    while (spent := time.monotonic() - begun) < most:
        quiet = min(spent, requests.quiet_seconds)
        if requests.active <= held() and quiet >= _QUIET_SECONDS:
            return
        await asyncio.sleep(_LOOK_SECONDS)
