"""The page's API over real HTTP: what it shows, and whose word counts."""

import asyncio
import json
from pathlib import Path

import pytest

from tests.harness.page_server import ANNA, BEN, WHOSE, served
from tests.harness.wait import run, soon
from thoughtgate_proxy.approvals.channels.channel import AskFailed
from thoughtgate_proxy.approvals.channels.slack.workflow import SlackWorkflow
from thoughtgate_proxy.core.approval import Transition
from thoughtgate_proxy.core.config.values import Workflow

LIST = "/api/v1/approvals"


@run
async def test_what_waits_is_listed_oldest_first_and_what_ended_newest_first(
    tmp_path: Path,
) -> None:
    async with served(tmp_path, now=1000.0) as world:
        first = await world.open(lasts=60)
        second = await world.open("drop_table", {"table": "t"})
        for _ in range(2):
            ended = await world.open("delete_branch")
            world.clock.move(1)
            await world.queue.step(ended.id, Transition.CANCEL)
        answer = (await world.ask("GET", LIST)).json
    assert [item["id"] for item in answer["pending"]] == [first.id, second.id]
    assert [item["ended"] for item in answer["recent"]] == [1002.0, 1001.0]
    assert answer["recent"][0]["id"] == ended.id
    assert answer["now"] == 1002.0
    assert answer["you"] == "anna"
    assert answer["whose"] == WHOSE
    item = answer["pending"][0]
    assert item["deadline"] == 1060.0
    assert item["preview"] == '"user_id": "u-1029"'
    assert (item["may"], item["may_not"]) == (["approve", "reject"], None)
    assert item["missing"] == item["required"] == 1


@run
async def test_the_exact_call_is_shown_with_who_asks_and_why(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        world.queue.workflows["default"] = Workflow(adapter="page", redact_fields=("card.number",))
        body = b'{"n":1.00,"big":9007199254740993,"card":{"number":"4111"},"x":"\xe2\x80\xae"}'
        opened = await world.open("pay", body, policies=("only-small",))
        shown = (await world.ask("GET", f"{LIST}/{opened.id}")).json
    # `shown` is no JSON for the redacted value alone: all else is as the client wrote it.
    assert '"n": 1.00,' in shown["arguments"]
    assert "9007199254740993" in shown["arguments"]
    assert "4111" not in json.dumps(shown)
    assert "\\u202e" in shown["arguments"]
    assert shown["redacted"] == ["card.number"]
    assert shown["principal"] == opened.call.principal
    assert shown["description"] == "Deletes a user for good."
    assert shown["correlation_id"] == opened.asked.correlation
    assert shown["policies"] == ["only-small"]
    for key in ("namespace", "pod", "source", "name", "why", "rule", "match", "digest", "method"):
        assert shown[key] not in (None, ""), key


@run
async def test_texts_of_strangers_are_shown_with_nothing_invisible_in_them(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        opened = await world.open("a\u202eb", description="one\n\x1b[2Jtwo\n\n")
        shown = (await world.ask("GET", f"{LIST}/{opened.id}")).json
    assert shown["name"] == "a\\u202eb"
    assert shown["description"] == "one\n\\u001b[2Jtwo"


@run
async def test_what_is_redacted_stays_so_when_its_workflow_is_gone(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        opened = await world.open("pay", {"card": "4111"})
        del world.queue.workflows["default"]
        shown = (await world.ask("GET", f"{LIST}/{opened.id}")).json
        listed = (await world.ask("GET", LIST)).text
    assert "4111" not in json.dumps(shown)
    assert "4111" not in listed
    assert shown["may"] == []


@run
async def test_a_vote_is_counted_with_who_gave_it(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        opened = await world.open()
        answer = await world.vote(opened.id)
        assert answer.status == 200
        assert answer.json["state"] == "approved"
        assert answer.json["may"] == ["reject"]
        (vote,) = world.queue.votes
        assert (vote.approver, vote.name, vote.verdict) == ("anna", "anna", "approve")


@run
async def test_a_rejection_carries_its_reason(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        opened = await world.open()
        body = {"verdict": "reject", "digest": opened.call.digest, "reason": " not that one\n"}
        answer = await world.ask("POST", f"{LIST}/{opened.id}/votes", body)
    assert answer.json["state"] == "rejected"
    assert world.queue.get(opened.id).reason == "not that one"


@run
async def test_a_given_approval_can_still_be_taken_back(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        opened = await world.open()
        await world.vote(opened.id)
        assert (await world.vote(opened.id, "reject", token=BEN)).json["state"] == "rejected"


@run
async def test_a_vote_on_another_call_than_was_seen_does_not_count(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        opened = await world.open()
        answer = await world.vote(opened.id, digest="0" * 64)
    assert (answer.status, answer.json["error"]["code"]) == (409, "other_call")
    assert world.queue.votes == []


@run
async def test_two_required_approvals_need_two_people(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        world.queue.workflows["default"] = Workflow(
            adapter="page", required=2, approvers=("anna", "ben")
        )
        opened = await world.open(required=2)
        for _ in range(2):
            answer = await world.vote(opened.id)
            assert (answer.status, answer.json["state"]) == (200, "pending")
            assert answer.json["missing"] == 1
            assert answer.json["may"] == ["reject"]
        assert len(world.queue.votes) == 1
        answer = await world.vote(opened.id, token=BEN)
    assert answer.json["state"] == "approved"
    assert [vote["name"] for vote in answer.json["votes"]] == ["anna", "ben"]


@run
async def test_only_the_listed_approvers_may_decide_and_others_may_look(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        world.queue.workflows["default"] = Workflow(adapter="page", approvers=("ben",))
        opened = await world.open()
        answer = await world.vote(opened.id)
        assert (answer.status, answer.json["error"]["code"]) == (403, "not_yours")
        shown = (await world.ask("GET", f"{LIST}/{opened.id}")).json
        assert shown["may"] == []
        assert "not among them" in shown["may_not"]
        assert world.queue.votes == []
        assert (await world.vote(opened.id, token=BEN)).status == 200


@pytest.mark.parametrize("workflow", [None, SlackWorkflow(adapter="slack", channel="#x")])
@run
async def test_the_workflow_in_force_decides_who_may(
    tmp_path: Path, workflow: Workflow | None
) -> None:
    async with served(tmp_path) as world:
        opened = await world.open()
        del world.queue.workflows["default"]
        if workflow is not None:
            world.queue.workflows["default"] = workflow
        assert (await world.vote(opened.id)).status == 403
    assert world.queue.votes == []


@run
async def test_a_vote_that_comes_too_late_is_told_so(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        opened = await world.open()
        await world.queue.step(opened.id, Transition.EXPIRE)
        answer = await world.vote(opened.id)
    assert (answer.status, answer.json["error"]["code"]) == (409, "too_late")
    assert "expired" in answer.json["error"]["message"]


@run
async def test_a_vote_that_is_told_again_is_not_counted_again(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        opened = await world.open()
        assert [(await world.vote(opened.id)).status for _ in range(2)] == [200, 200]
        await world.queue.step(opened.id, Transition.SEND)
        await world.queue.step(opened.id, Transition.FINISH)
        assert (await world.vote(opened.id)).status == 409
    assert len(world.queue.votes) == 1


@run
async def test_news_come_to_a_view_that_waits(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        version = (await world.ask("GET", LIST)).json["version"]
        view = asyncio.create_task(world.ask("GET", f"{LIST}?wait=20&after={version}"))
        await asyncio.sleep(0)
        await world.open()
        answer = (await soon(view, "the news", 15)).json
        assert len(answer["pending"]) == 1
        assert answer["version"] != version
        # A view of before a restart has another version, and waits for nothing.
        await soon(world.ask("GET", f"{LIST}?wait=20&after=gone-1"), "the list", 15)


@run
async def test_a_view_that_waits_for_nothing_gets_the_list_all_the_same(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        version = (await world.ask("GET", LIST)).json["version"]
        answer = await soon(world.ask("GET", f"{LIST}?wait=1&after={version}"), "the list")
    assert answer.json["version"] == version


@run
async def test_nobody_is_asked_where_nobody_could_answer(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        world.queue.workflows["default"] = Workflow(
            adapter="page", approvers=("anna", "zoe"), required=2
        )
        with pytest.raises(AskFailed, match="1 of the listed approvers of `default` has"):
            await world.open(required=2)
        world.queue.workflows["default"] = Workflow(adapter="page")
        world.tokens.unlink()
        with pytest.raises(AskFailed, match="nobody has a token"):
            await world.open()


@run
async def test_a_call_of_a_mebibyte_is_shown_whole(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        opened = await world.open("write", {"text": "x" * (1 << 20)})
        shown = (await world.ask("GET", f"{LIST}/{opened.id}")).json
        listed = (await world.ask("GET", LIST)).json
    assert "x" * (1 << 20) in shown["arguments"]
    assert listed["pending"][0]["preview"] == ""


@run
async def test_the_recent_list_has_an_end(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        for number in range(80):
            ended = await world.open(id=f"{number:024x}")
            world.clock.move(1)
            await world.queue.step(ended.id, Transition.CANCEL)
        listed = (await world.ask("GET", LIST)).json
    assert len(listed["recent"]) == 50
    assert listed["recent"][0]["id"] == ended.id


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/api/v1/approvals/none", None, 404, "not_found"),
        ("GET", "/api/v1/nothing", None, 404, "not_found"),
        ("GET", "/../../etc/passwd", None, 404, "not_found"),
        ("PUT", LIST, {}, 405, "method_not_allowed"),
        ("OPTIONS", LIST, None, 405, "method_not_allowed"),
        ("GET", f"{LIST}?wait=1000", None, 400, "bad_request"),
        ("GET", f"{LIST}?wait=-1", None, 400, "bad_request"),
        ("POST", f"{LIST}/ID/votes", {"verdict": "approve"}, 400, "bad_request"),
        ("POST", f"{LIST}/ID/votes", {"verdict": "maybe", "digest": ""}, 400, "bad_request"),
        ("POST", f"{LIST}/ID/votes", ["approve"], 400, "bad_request"),
        (
            "POST", f"{LIST}/ID/votes",
            {"verdict": "reject", "digest": "", "reason": "x" * 1001}, 400, "bad_request",
        ),
        (
            "POST", f"{LIST}/ID/votes",
            {"verdict": "reject", "digest": "", "by": "ben"}, 400, "bad_request",
        ),
        ("POST", f"{LIST}/ID/votes", {"digest": "x" * 20_000}, 413, "too_large"),
    ],
)  # fmt: skip
@run
async def test_errors_are_json_with_words(
    tmp_path: Path, method: str, path: str, body: object, status: int, code: str
) -> None:
    async with served(tmp_path) as world:
        opened = await world.open()
        answer = await world.ask(method, path.replace("ID", opened.id), body)
    assert (answer.status, answer.json["error"]["code"]) == (status, code)
    assert answer.json["error"]["message"]
    assert world.queue.votes == []
    if status == 405:
        assert "GET" in answer.headers["Allow"]


@run
async def test_a_body_that_is_no_json_is_refused(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        opened = await world.open()
        path = f"{LIST}/{opened.id}/votes"
        text = json.dumps({"verdict": "approve", "digest": opened.call.digest}).encode()
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            answer = await world.ask("POST", path, data=text, headers={"Content-Type": kind})
            assert answer.status == 415
        json_type = {"Content-Type": "application/json"}
        for data in (b"{", b"\xff", b"", b'{"verdict":"approve"'):
            answer = await world.ask("POST", path, data=data, headers=json_type)
            assert answer.status == 400
    assert world.queue.votes == []


@run
async def test_an_error_of_ours_tells_nothing(tmp_path: Path) -> None:
    async with served(tmp_path) as world:

        def broken(_: str) -> None:
            raise RuntimeError("the secret")

        world.queue.find = broken  # type: ignore[method-assign, assignment]  # to break it
        answer = await world.ask("GET", f"{LIST}/x", token=ANNA)
    assert (answer.status, answer.json["error"]["code"]) == (500, "internal")
    assert "secret" not in answer.text
    assert world.log.found("the approvals page failed")[0]["error"] == "RuntimeError"
