"""The two queues that `test_queue` holds to each other: the tests' and the service's own."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.harness.approval_service import Humans, World, a_call, configured, world
from tests.harness.clock import ManualClock
from tests.harness.fake_queue import ENDINGS, FakeQueue
from thoughtgate_proxy.core.approval import Approval, Asked, Transition, VoteValue

FLOW: dict[str, Any] = {"adapter": "page", "timeout": "60s", "valid_for": "30s"}
TWO = FLOW | {"required": 2, "approvers": ["ada", "bob"]}
FLOWS = {
    "one": {"default": FLOW},
    "two": {"default": TWO},
    "gone": {"other": FLOW},
    "moved": {"default": {"adapter": "slack", "channel": "#approvals"}},
}
APPROVE, REJECT = VoteValue.APPROVE, VoteValue.REJECT


class Side(Protocol):
    """A queue, and what happens around it."""

    clock: ManualClock

    @property
    def humans(self) -> Humans:
        """Those of the page."""

    async def open(self, number: int, flow: str = "one") -> Approval:
        """A new approval, once its humans were asked."""

    async def step(self, id: str, step: Transition) -> None:
        """Let something happen to it."""

    def configure(self, flow: str) -> None:
        """Put one of `FLOWS` in force, of which nothing has taken note yet."""

    async def spoil(self, *, spoilt: bool) -> None:
        """Let nothing be written any more, or again."""


class Fake:
    """The tests' queue."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.queue = FakeQueue("page", {}, self.clock)
        self.humans = Humans(self.queue)
        self.queue.attach(self.humans)
        self.configure("one")

    async def open(self, number: int, flow: str = "one") -> Approval:
        self.configure(flow)
        chosen, now = self.queue.workflows["default"], self.clock.now()
        why = Asked("default", chosen.adapter, "a rule asks for it", "rules", correlation="c1")
        return await self.queue.open(
            Approval(
                f"tg_{number}", a_call(n=number), why, now, now + chosen.timeout, chosen.required
            )
        )

    async def step(self, id: str, step: Transition) -> None:
        await self.queue.step(id, step)

    def configure(self, flow: str) -> None:
        self.queue.workflows.clear()
        self.queue.workflows.update(_gate(flow).config.approval)

    async def spoil(self, *, spoilt: bool) -> None:
        self.queue.store.trouble = "it cannot be written" if spoilt else None


class _Unheard(asyncio.Event):
    """Wakes nobody: else the supervisor ends what is due, sooner or later."""

    def set(self) -> None:
        """Do nothing."""


class Real:
    """The service's queue, over its file."""

    def __init__(self, world: World) -> None:
        self.world, self.clock = world, world.clock
        self.asked = 0
        world.service._registry.changes = _Unheard()

    @property
    def humans(self) -> Humans:
        return self.world.page

    async def open(self, number: int, flow: str = "one") -> Approval:
        self.configure(flow)
        opened = await self.world.open(a_call(n=number))
        self.asked += 1
        await self.world.asked(self.asked)
        return self.world.service._registry.get(opened.id)

    async def step(self, id: str, step: Transition) -> None:
        changes: dict[str, Any] = {"ending": ENDINGS[step]} if step in ENDINGS else {}
        await self.world.service._registry.step(id, step, **changes)

    def configure(self, flow: str) -> None:
        self.world.gate = _gate(flow)

    async def spoil(self, *, spoilt: bool) -> None:
        store = self.world.store
        await store._in_thread(lambda: store._db.execute(f"PRAGMA query_only = {int(spoilt)}"))


def _gate(flow: str) -> Any:
    rule = {"match": "delete_*", "action": "approve", "approval": next(iter(FLOWS[flow]))}
    return configured(governance={"rules": [rule]}, approval=FLOWS[flow])


@asynccontextmanager
async def _fake(_: Path) -> AsyncIterator[Side]:
    yield Fake()


@asynccontextmanager
async def _real(folder: Path) -> AsyncIterator[Side]:
    async with world(folder) as one:
        yield Real(one)


SIDES: dict[str, Callable[[Path], AbstractAsyncContextManager[Side]]] = {
    "the fake": _fake, "the service's": _real,
}  # fmt: skip


def on_both(story: Callable[[Side], Awaitable[None]]) -> Any:
    """Make a story a test of both queues."""

    @pytest.mark.parametrize("which", list(SIDES))
    def test(tmp_path: Path, which: str) -> None:
        async def told() -> None:
            async with SIDES[which](tmp_path) as side:
                await story(side)

        asyncio.run(told())

    test.__name__ = story.__name__
    return test
