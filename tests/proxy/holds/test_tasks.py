"""Calls that wait as tasks, in both revisions that have tasks."""

import asyncio
from pathlib import Path

import pytest

from tests.harness.clock import ManualClock
from tests.harness.hold_room import LEGACY, held, room, text_of
from tests.harness.mcp_server import Peer, Received, dumps, result
from tests.harness.task_client import RELATED, TaskClient
from tests.harness.wait import run, within
from thoughtgate_proxy.core.approval import State, VoteValue

BOTH = pytest.mark.parametrize("old", [False, True], ids=["2026-07-28", "2025-11-25"])


@BOTH
def test_a_call_becomes_a_task_at_once(tmp_path: Path, old: bool) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            client = TaskClient(gate, old)
            task = await client.call()
            assert task["taskId"].startswith("tg_")
            assert task["status"] == "working"
            assert "human's approval until" in task["statusMessage"]
            assert task["createdAt"].endswith("Z")
            assert isinstance(task["ttl" if old else "ttlMs"], int)
            assert task["pollInterval" if old else "pollIntervalMs"] >= 1000
            assert ("resultType" in task) is not old
            told = await client.get(task["taskId"])
            assert told["status"] == "working"
            assert told.get("resultType") == (None if old else "complete")
            assert gate.server.received == []

    test()


def test_a_poll_of_2026_07_28_carries_the_call_with_the_calls_own_headers(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            client = TaskClient(gate, False, "Mcp-Param-Id: 7")
            task = await client.call()
            await gate.approve()
            assert gate.server.received == []
            poller = TaskClient(gate, False, "X-Poll: yes")
            told = await poller.comes_to(task["taskId"], "completed")
            assert told["result"]["content"][0]["text"] == "did delete_user"
            (sent,) = gate.server.received
            assert sent.header("mcp-method") == "tools/call"
            assert sent.header("mcp-name") == "delete_user"
            assert sent.header("mcp-param-id") == "7"
            assert sent.header("x-poll") == "yes"
            assert (await poller.get(task["taskId"]))["result"] == told["result"]
            assert len(gate.server.received) == 1

    test()


def test_tasks_result_blocks_and_then_gives_what_the_call_would_have(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            client = TaskClient(gate, True)
            task = (await client.call())["taskId"]
            async with held(gate.port, client.body("tasks/result", taskId=task), LEGACY) as stream:
                await gate.approve()
                message = await stream.message()
                assert text_of(message) == "did delete_user"
                assert message["result"]["_meta"] == {RELATED: {"taskId": task}}
            (sent,) = gate.server.received
            assert "task" not in sent.message["params"], "the task is ours"
            assert (await client.get(task))["status"] == "completed"
            async with held(gate.port, client.body("tasks/result", taskId=task), LEGACY) as stream:
                assert text_of(await stream.message()) == "did delete_user"
            assert len(gate.server.received) == 1

    test()


def test_all_who_ask_for_the_result_of_a_task_get_it_as_their_own(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            client = TaskClient(gate, True)
            task = (await client.call())["taskId"]
            asking = [client.body("tasks/result", taskId=task) for _ in range(2)]
            async with (
                held(gate.port, asking[0], LEGACY) as one,
                held(gate.port, asking[1], LEGACY) as other,
            ):
                await gate.approve()
                for stream in (one, other):
                    message = await stream.message()
                    assert text_of(message) == "did delete_user"
                    assert message["result"]["_meta"] == {RELATED: {"taskId": task}}
            assert len(gate.server.received) == 1

    test()


@BOTH
@pytest.mark.parametrize("end", ["rejected", "timed out"])
def test_a_task_that_was_not_sent_tells_why(tmp_path: Path, old: bool, end: str) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path, ManualClock()) as gate:
            client = TaskClient(gate, old)
            task = (await client.call())["taskId"]
            await gate.asked()
            if end == "rejected":
                await gate.say(VoteValue.REJECT, "too late")
            else:
                await gate.pass_by(61)
            told = await client.comes_to(task, "failed" if old else "completed")
            if old:
                body = client.body("tasks/result", taskId=task)
                async with held(gate.port, body, LEGACY) as stream:
                    told = await stream.message()
            assert told["result"]["isError"] is True
            wanted = "«too late»" if end == "rejected" else "no approver answered"
            assert wanted in text_of(told)

    test()


@BOTH
def test_a_cancelled_task_is_cancelled(tmp_path: Path, old: bool) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            client = TaskClient(gate, old)
            task = (await client.call())["taskId"]
            await gate.asked()
            answer = (await client.ask("tasks/cancel", taskId=task))["result"]
            assert answer.get("status") == ("cancelled" if old else None)
            assert (await client.get(task))["status"] == "cancelled"
            again = await client.ask("tasks/cancel", taskId=task)
            if old:  # as the specification of that revision demands
                assert again["error"]["code"] == -32602
            else:
                assert again["result"] == {"resultType": "complete"}
            await gate.ends_as(State.CANCELLED)

    test()


def test_a_task_survives_a_restart(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            client = TaskClient(gate, False)
            task = (await client.call())["taskId"]
            await gate.asked()
            await gate.restart()
            (pending,) = gate.page.queue.pending()
            await gate.page.say(pending.id, VoteValue.APPROVE)
            assert "result" in await client.comes_to(task, "completed")

    test()


def test_the_same_call_gets_the_same_task(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            client = TaskClient(gate, False)
            assert (await client.call())["taskId"] == (await client.call())["taskId"]
            await gate.asked()
            assert len(gate.page.asked) == 1

    test()


def test_a_task_cancelled_while_its_server_is_at_work_stays_cancelled(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def script(request: Received, peer: Peer) -> None:
        await go_on.wait()
        await peer.reply(dumps(result(request.message)))

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            client = TaskClient(gate, True)
            task = (await client.call())["taskId"]
            await gate.approve()
            polling = asyncio.create_task(client.get(task))
            await within(lambda: gate.server.received, "the call at the server")
            told = (await TaskClient(gate, True).ask("tasks/cancel", taskId=task))["result"]
            assert told["status"] == "cancelled"
            go_on.set()
            await polling
            await gate.ends_as(State.DONE)
            assert (await client.get(task))["status"] == "cancelled"

    test()


def test_after_a_task_has_told_its_result_the_same_call_is_a_new_task(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            client = TaskClient(gate, False)
            task = (await client.call())["taskId"]
            await gate.approve()
            await client.comes_to(task, "completed")
            again = await client.call()
            assert (again["taskId"] != task, again["status"]) == (True, "working")
            assert len(gate.server.received) == 1

    test()


def test_a_poll_of_2025_11_25_tells_no_result_so_the_same_call_is_the_same_task(
    tmp_path: Path,
) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            client = TaskClient(gate, True)
            task = (await client.call())["taskId"]
            await gate.approve()
            await client.comes_to(task, "completed")
            again = await client.call()
            assert (again["taskId"], again["status"]) == (task, "completed")
            assert len(gate.server.received) == len(gate.page.asked) == 1

    test()
