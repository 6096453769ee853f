"""The humans are asked once and told of each change, whatever their channel does."""

import asyncio
from pathlib import Path

import pytest

from tests.harness import approval_service
from tests.harness.approval_service import Carrier, world
from tests.harness.wait import run, soon, within
from thoughtgate_proxy.approvals import notifier
from thoughtgate_proxy.approvals.channels.channel import AskFailed
from thoughtgate_proxy.core.approval import Ending, State, VoteValue


@run
async def test_what_the_humans_cannot_be_told_is_not_left_pending(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.page.cannot = AskFailed("Slack does not know the channel", "slack_channel")
        opened = await w.open()
        ended = await soon(w.service.settled(opened.id, 50), "the end")
        assert (ended.ending, ended.reason) == (Ending.NOT_TOLD, "Slack does not know the channel")
        assert not w.page.queue.pending()
        await within(lambda: w.page.told, "a message that may stand there all the same to be told")
        assert w.page.told[-1].ending is Ending.NOT_TOLD
        await within(lambda: not w.service._notifier._following, "the notifier")
        await w.restart()
        assert not w.page.told, "they know"


@run
async def test_the_humans_hear_of_each_state(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval = await w.approved()
        await within(lambda: w.page.told, "the first word")
        await w.dispatch(approval.id, "", Carrier())
        await within(lambda: w.page.told[-1].state is State.DONE, "the last word")
        assert w.page.told[-1].message_ref == "message 1"
        await within(lambda: not w.service._notifier._following, "the notifier")
        await w.restart()
        assert not w.page.told, "they know"
        assert not w.page.asked


@run
async def test_a_channel_that_fails_at_asking_leaves_nothing_pending(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        w.page.cannot = RuntimeError("a mistake of ours")
        opened = await w.open()
        ended = await soon(w.service.settled(opened.id, 50), "the end")
        assert (ended.state, ended.ending) == (State.CANCELLED, Ending.NOT_TOLD)
        assert "mistake" not in ended.reason, "that is for the log"


@run
async def test_a_restart_tells_the_humans_nothing_that_they_know(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval = await w.approved()
        await within(lambda: w.page.told, "the first word")
        await within(lambda: w.page.queue.pending()[0].notified is State.APPROVED, "the note of it")
        await w.restart()
        await w.page.say(approval.id, VoteValue.REJECT, "bob")
        await within(lambda: w.page.told, "the news")
        assert [told.state for told in w.page.told] == [State.REJECTED]


@run
async def test_a_channel_that_fails_at_looking_looks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[approval_service.Humans] = []

    async def look(humans: approval_service.Humans) -> None:
        looked.append(humans)
        if len(looked) == 1:
            raise RuntimeError("a mistake of ours")
        await asyncio.Event().wait()

    monkeypatch.setattr(approval_service.Humans, "run", look)
    monkeypatch.setattr(notifier, "_AGAIN_SECONDS", 0.0)
    async with world(tmp_path) as w:
        await within(lambda: len(looked) == 2, "another look")
        assert looked == [w.page, w.page]


@run
async def test_an_end_that_the_humans_did_not_hear_is_told_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise RuntimeError("a mistake of ours")

    async with world(tmp_path) as w:
        opened = await w.open()
        await w.asked()
        with monkeypatch.context() as broken:
            broken.setattr(approval_service.Humans, "update", fails)
            await w.service.cancel(opened.id, "changed its mind")
            await within(lambda: not w.service._notifier._following, "the notifier")
        await w.restart()
        await within(lambda: w.page.told, "the news")
        assert [told.ending for told in w.page.told] == [Ending.CANCELLED]
        assert not w.page.asked
