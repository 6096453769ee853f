"""Work that nobody awaits is ended with all others, and its mistakes are logged."""

import asyncio

from tests.harness.log import Lines
from tests.harness.policy import AGENT
from tests.harness.wait import run, within
from thoughtgate_proxy.approvals.background import BackgroundTasks
from thoughtgate_proxy.core.policy.identity import from_words
from thoughtgate_proxy.telemetry.metrics import Metrics
from thoughtgate_proxy.telemetry.record import Record


@run
async def test_after_its_end_nothing_is_begun() -> None:
    done: list[str] = []

    async def work(name: str) -> None:
        done.append(name)
        await asyncio.Event().wait()

    tasks = BackgroundTasks(Record(Lines(), Metrics(), from_words(AGENT, "agents", "pod")))
    tasks.start(work("first"))
    await within(lambda: done, "the work")
    tasks.cancel()
    tasks.start(work("second"))
    await tasks.finished()
    assert done == ["first"]


@run
async def test_what_it_fails_at_is_logged() -> None:
    async def work() -> None:
        raise RuntimeError("a mistake of ours")

    log = Lines()
    tasks = BackgroundTasks(Record(log, Metrics(), from_words(AGENT, "agents", "pod")))
    tasks.start(work())
    await within(lambda: log.found("internal error"), "the line")
