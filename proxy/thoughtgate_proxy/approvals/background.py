"""Work that nobody awaits."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from thoughtgate_proxy.telemetry.record import Record


class BackgroundTasks:
    """Keeps tasks until they end, and logs what they fail at."""

    def __init__(self, record: Record) -> None:
        self._record, self._cancelled = record, False
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it, until `cancel`."""
        if self._cancelled:
            work.close()
            return
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def cancel(self) -> None:
        """End all of them, and begin nothing more."""
        self._cancelled = True
        for task in self._tasks:
            task.cancel()

    async def finished(self) -> None:
        """Wait for what `cancel` ends."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._record.broken("", error)
