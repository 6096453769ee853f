"""What an approval is worth when the configuration changed while it waited."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.harness.approval_service import RULES, WORKFLOW, Carrier, a_call, configured, world
from tests.harness.policy import SOURCE
from tests.harness.wait import run, within
from thoughtgate_proxy.core.approval import Ending, NoSuchTransition, State, VoteValue

TWO = {"adapter": "page", "approvers": ["ada", "bob"], "required": 2}
ELSEWHERE = {"adapter": "slack", "channel": "#approvals"}
OTHER_SOURCE = {"id": "other", "url": "http://other:1"}
CHANGES: dict[str, tuple[dict[str, Any], Ending, str]] = {
    "frozen": ({"governance": {"freeze": True}}, Ending.FROZEN, "frozen"),
    "denied by a rule": (
        {"governance": {"rules": [{"match": "*", "action": "deny"}]}}, Ending.RULED_OUT, "denies",
    ),
    "hidden": (
        {"sources": [{**SOURCE, "expose": {"mode": "blocklist", "tools": ["delete_*"]}}]},
        Ending.RULED_OUT, "Unknown tool",
    ),
    "without its workflow": (
        {
            "approval": {"new": WORKFLOW},
            "governance": {"rules": [{"match": "delete_*", "action": "approve"}]},
        },
        Ending.RECONFIGURED, "`default`",
    ),
    "decided on by another workflow": (
        {
            "approval": {"default": WORKFLOW, "new": WORKFLOW},
            "governance": {
                "rules": [{"match": "delete_*", "action": "approve", "approval": "new"}]
            },
        },
        Ending.RECONFIGURED, "`default` decides on it no more",
    ),
    "asked elsewhere": ({"approval": {"default": ELSEWHERE}}, Ending.RECONFIGURED, "elsewhere"),
    "without its server": ({"sources": [OTHER_SOURCE]}, Ending.RECONFIGURED, "`upstream`"),
    "with less depth allowed": ({"limits": {"json_depth": 4}}, Ending.RULED_OUT, "nested"),
}  # fmt: skip
DEEP = a_call(a={"b": {"c": {"d": 1}}})


@pytest.mark.parametrize("change", list(CHANGES))
@pytest.mark.parametrize("state", [State.PENDING, State.APPROVED])
@run
async def test_a_reload_ends_what_it_forbids(tmp_path: Path, change: str, state: State) -> None:
    config, ending, words = CHANGES[change]
    async with world(tmp_path) as w:
        opened = await w.open(DEEP)
        await w.asked()
        if state is State.APPROVED:
            await w.page.say(opened.id, VoteValue.APPROVE)
        w.reload(**config)
        ended = await w.comes_to(opened.id, State.CANCELLED)
        assert ended.ending is ending
        assert words in ended.reason
        await within(lambda: w.page.told and w.page.told[-1].ending is ending, "the humans")


@pytest.mark.parametrize("change", list(CHANGES))
@run
async def test_the_gates_are_asked_again_at_dispatch_and_their_denial_wins(
    tmp_path: Path, change: str
) -> None:
    config, ending, _ = CHANGES[change]
    async with world(tmp_path) as w:
        approval = await w.approved(DEEP)
        w.gate = configured(**config)  # in force, and the service has not heard of it yet
        carrier = Carrier()
        outcome = await w.dispatch(approval.id, "", carrier)
        assert (outcome.approval.ending, carrier.permits) == (ending, [])


@pytest.mark.parametrize("change", list(CHANGES))
@run
async def test_a_restart_under_another_configuration_ends_it_too(
    tmp_path: Path, change: str
) -> None:
    config, ending, _ = CHANGES[change]
    async with world(tmp_path) as w:
        approval = await w.approved(DEEP)
        await w.stop()
        w.gate = configured(**config)
        await w.start()
        assert (await w.comes_to(approval.id, State.CANCELLED)).ending is ending


@run
async def test_what_a_new_configuration_lets_through_is_sent_all_the_same(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval = await w.approved()
        w.reload(governance={"rules": []})
        assert (await w.dispatch(approval.id, "", Carrier())).approval.state is State.DONE


@run
async def test_more_approvers_are_required_of_what_was_given_already(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        pending, given = await w.open(a_call(n=1)), await w.open(a_call(n=2))
        await w.asked(2)
        await w.page.say(given.id, VoteValue.APPROVE)
        w.reload(approval={"default": TWO})
        ended = await w.comes_to(given.id, State.CANCELLED)
        assert "requires 2 approvers" in ended.reason
        assert (await w.page.say(pending.id, VoteValue.APPROVE)).state is State.PENDING
        assert (await w.page.say(pending.id, VoteValue.APPROVE, "bob")).state is State.APPROVED


@run
async def test_fewer_approvers_do_not_make_an_approval_of_a_vote(tmp_path: Path) -> None:
    async with world(tmp_path, approval={"default": TWO}) as w:
        opened = await w.open()
        await w.asked()
        await w.page.say(opened.id, VoteValue.APPROVE)
        w.reload()
        assert await w.state(opened.id) is State.PENDING


@run
async def test_a_limited_rule_does_not_count_an_approved_call_twice(tmp_path: Path) -> None:
    rule = {"match": "delete_*", "action": "approve", "limit": "1/h"}
    async with world(tmp_path, governance={**RULES, "rules": [rule]}) as w:
        approval = await w.approved()
        for _ in range(3):
            w.service.supervisor.reloaded()
        assert (await w.dispatch(approval.id, "", Carrier())).approval.state is State.DONE


@run
async def test_a_workflow_that_appears_brings_its_adapter(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        assert set(w.humans) == {"page"}
        w.reload(approval={"default": ELSEWHERE})
        assert set(w.humans) == {"page", "slack"}
        opened = await w.open()
        await within(lambda: w.humans["slack"].asked, "the other humans")
        assert w.page.queue.find(opened.id) is None, "each adapter knows its own"
        await asyncio.sleep(0)
        assert not w.page.asked


@run
async def test_a_reload_that_requires_fewer_approvers_lets_no_open_request_need_fewer(
    tmp_path: Path,
) -> None:
    one = {**TWO, "required": 1}
    async with world(tmp_path, approval={"default": TWO}) as w:
        opened = await w.open()
        await w.asked()
        w.reload(approval={"default": one})
        assert (await w.page.say(opened.id, VoteValue.APPROVE)).state is State.PENDING
        approved = await w.page.say(opened.id, VoteValue.APPROVE, "bob")
        assert (approved.state, approved.required) == (State.APPROVED, 2)


@run
async def test_what_a_reload_once_required_stays_required_across_a_restart(tmp_path: Path) -> None:
    one = {**TWO, "required": 1}
    async with world(tmp_path, approval={"default": one}) as w:
        opened = await w.open()
        await w.asked()
        w.reload(approval={"default": TWO})
        assert (await w.page.say(opened.id, VoteValue.APPROVE)).state is State.PENDING
        w.reload(approval={"default": one})
        await w.restart()
        assert (await w.page.say(opened.id, VoteValue.APPROVE)).state is State.PENDING
        approved = await w.page.say(opened.id, VoteValue.APPROVE, "bob")
        assert (approved.state, approved.required) == (State.APPROVED, 2)


@run
async def test_an_adapter_that_a_workflow_asks_no_more_decides_nothing(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        opened = await w.open()
        await w.asked()
        w.gate = configured(approval={"default": ELSEWHERE})  # the service has not heard of it yet
        with pytest.raises(NoSuchTransition, match="is open here"):
            await w.page.say(opened.id, VoteValue.APPROVE)
        assert await w.state(opened.id) is State.PENDING
