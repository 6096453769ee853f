"""One audit line a step, and counts that add up."""

from pathlib import Path
from typing import Any

import pytest

from tests.harness.approval_service import WORKFLOW, Carrier, a_call, world
from tests.harness.wait import run, within
from thoughtgate_proxy.core.approval import State, VoteValue
from thoughtgate_proxy.telemetry import exposition


@run
async def test_each_step_has_its_line(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        approval = await w.approved(a_call(user="ada"))
        await w.dispatch(approval.id, "", Carrier())
        await within(lambda: w.page.told and w.page.told[-1].state is State.DONE, "the notifier")
        lines = await w.audit()
        assert [line["step"] for line in lines] == [
            "opened", "announced", "vote", "approved", "sending", "done",
        ]  # fmt: skip
        for line in lines:
            assert (line["approval"], line["correlation_id"]) == (approval.id, "c1")
            assert (line["principal"], line["name"]) == (approval.call.principal, "delete_user")
            assert line["call_digest"] == approval.call.digest
        vote = lines[2]
        assert (vote["approver"], vote["vote_name"], vote["verdict"]) == (
            "id-ada",
            "ada",
            "approve",
        )
        assert [line.get("arguments") for line in lines] == ['{"user": "ada"}'] + [None] * 5


@run
async def test_a_rejections_reason_is_on_record(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        opened = await w.open()
        await w.asked()
        await w.page.say(opened.id, VoteValue.REJECT, reason="no\u202e!")
        last = (await w.audit())[-1]
        assert (last["step"], last["from"], last["ending"]) == ("rejected", "pending", "rejected")
        assert last["reason"] == "no\u202e!"


@pytest.mark.parametrize(
    ("setting", "shown"),
    [
        ("redacted", {"arguments": '{"user": "ada", "card": {"no": "[redacted]"}}'}),
        ("full", {"arguments": '{"user": "ada", "card": {"no": 4111}}'}),
        ("digest", {}),
    ],
)
@run
async def test_arguments_are_shown_as_the_configuration_says(
    tmp_path: Path, setting: str, shown: dict[str, Any]
) -> None:
    flow = {**WORKFLOW, "redact_fields": ["card.no"]}
    audit = {"arguments": setting}
    async with world(tmp_path, audit=audit, approval={"default": flow}) as w:
        await w.open(a_call(user="ada", card={"no": 4111}))
        line = (await w.audit())[0]
        assert {key: line[key] for key in ("arguments",) if key in line} == shown
        assert ("arguments_digest" in line) == (setting == "digest")
        assert line.get("redacted") == (["card.no"] if setting == "redacted" else None)
        assert "4111" not in str(line) or setting == "full"


@run
async def test_what_happens_is_counted(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        for number, verdict in enumerate((VoteValue.APPROVE, VoteValue.REJECT)):
            opened = await w.open(a_call(n=number))
            await w.asked(number + 1)
            w.clock.move(10)
            await w.page.say(opened.id, verdict)
        await w.open(a_call(n=9))
        text = exposition.text(w.metrics).decode()
        for line in (
            'thoughtgate_approval_requests_total{channel="page",outcome="asked"} 3.0',
            'thoughtgate_approval_requests_total{channel="page",outcome="approved"} 1.0',
            'thoughtgate_approval_requests_total{channel="page",outcome="rejected"} 1.0',
            "thoughtgate_approvals_pending 1.0",
            "thoughtgate_approval_wait_seconds_count 2.0",
            "thoughtgate_approval_wait_seconds_sum 20.0",
        ):
            assert line in text, line
