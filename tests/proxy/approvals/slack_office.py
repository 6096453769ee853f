"""The real adapter, with the real Slack client, before a fake Slack."""

import asyncio
import contextlib
import os
import random
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from tests.awaiting import within
from tests.fakes.slack import TOKEN, FakeSlack
from tests.proxy.approvals.slack_docket import MemoryDocket
from thoughtgate_proxy.approvals.adapter import Docket
from thoughtgate_proxy.approvals.slack.adapter import Slack
from thoughtgate_proxy.approvals.slack.client import Account
from thoughtgate_proxy.approvals.slack.polling import Pace
from thoughtgate_proxy.core.approval import Approval, State
from thoughtgate_proxy.telemetry.log import Level, Log
from thoughtgate_proxy.telemetry.metrics import Metrics

QUICK = Pace(least=0.02, most=0.1, last_look=0.2, by_age=0.0)


class Lines(Log):
    """A log that keeps what is written."""

    def __init__(self) -> None:
        super().__init__(time.time, fd=os.open(os.devnull, os.O_WRONLY))
        self.lines: list[dict[str, Any]] = []

    def event(self, message: str, level: Level = Level.INFO, **facts: Any) -> None:
        self.lines.append({"message": message, "level": level, **facts})

    def close(self) -> None:
        os.close(self._fd)

    def found(self, message: str) -> list[dict[str, Any]]:
        """The lines whose message has that in it."""
        return [line for line in self.lines if message in line["message"]]


class Office:
    """An adapter, and all that is around it."""

    def __init__(
        self,
        slack: FakeSlack,
        docket: Docket,
        *,
        token: str = TOKEN,
        environ: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        self.slack, self.log, self.metrics = slack, Lines(), Metrics()
        self.ready = asyncio.Event()
        self.ready.set()
        settings: dict[str, Any] = {
            "pace": QUICK, "settle_seconds": 0.02, "ask_seconds": 5.0, "random": random.random,
        }  # fmt: skip
        self.adapter = Slack(
            docket,
            Account(token, slack.url, environ or {}),
            self.log,
            self.metrics,
            self.ready,
            wall=time.time,
            now=time.monotonic,
            **settings | options,
        )

    def counted(self, kind: str) -> int:
        """How often an error of that kind was counted."""
        text = self.metrics.text().decode()
        line = f'thoughtgate_errors_total{{error_type="{kind}",method=""}} '
        return sum(int(float(x.removeprefix(line))) for x in text.splitlines() if line in x)


@contextlib.asynccontextmanager
async def running(office: Office) -> AsyncIterator[Office]:
    """The adapter looks for decisions meanwhile."""
    task = asyncio.create_task(office.adapter.run())
    try:
        yield office
    finally:
        failed = task.done() and task.exception()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        office.log.close()
        assert not failed, failed


@contextlib.asynccontextmanager
async def staffed(
    docket: MemoryDocket | None = None,
    *,
    slack: contextlib.AbstractAsyncContextManager[FakeSlack] | None = None,
    **options: Any,
) -> AsyncIterator[tuple[FakeSlack, MemoryDocket, Office]]:
    """A fake Slack, a docket, and an adapter at work between them."""
    docket = docket or MemoryDocket()
    async with slack or FakeSlack() as fake:
        office = Office(fake, docket, **options)
        docket.adapter = office.adapter
        async with running(office):
            yield fake, docket, office


async def becomes(docket: MemoryDocket, asked: Approval, state: State) -> Approval:
    """The approval, once it has that state."""
    await within(lambda: docket.approvals[asked.id].state is state, f"{asked.id} to be {state}")
    return docket.approvals[asked.id]
