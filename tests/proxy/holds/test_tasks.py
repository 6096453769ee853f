"""Calls that wait as tasks, in both revisions that have tasks."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.harness.clock import ManualClock
from tests.harness.hold_room import LEGACY, MODERN, Room, held, legacy, modern, room, text_of
from tests.harness.mcp_server import FakeMcpServer, Peer, Received, dumps, polite, result
from tests.harness.wait import run, within
from tests.harness.wire import ask, post
from thoughtgate_proxy.core.approval import State, VoteValue

RELATED = "io.modelcontextprotocol/related-task"
NEW = {"name": "delete_user", "arguments": {"id": 7}}
BOTH = pytest.mark.parametrize("old", [False, True], ids=["2026-07-28", "2025-11-25"])


class Client:
    """Sends requests of one revision, each with another id."""

    def __init__(self, gate: Room, old: bool, *lines: str, target: str = "/") -> None:
        self._gate, self._old, self._lines, self._target = gate, old, lines, target
        self._id = 0

    def body(self, method: str, **params: Any) -> bytes:
        self._id += 1
        if self._old:
            return legacy(method, self._id, **params)
        return modern(method, self._id, tasks=True, **params)

    async def ask(self, method: str, **params: Any) -> Any:
        """The answer, as JSON."""
        task = params.get("taskId")
        version = LEGACY if self._old else MODERN
        names = () if self._old else (f"Mcp-Method: {method}", f"Mcp-Name: {task or 'delete_user'}")
        body, lines = self.body(method, **params), (version, *names, *self._lines)
        reply = await ask(self._gate.port, post(body, *lines, target=self._target))
        assert reply.header("content-type") == "application/json", reply.body
        message = reply.json
        assert message["id"] == self._id
        return message

    async def call(self) -> Any:
        """Make a task; gives what is told of it."""
        result = (await self.ask("tools/call", **NEW, **({"task": {}} if self._old else {})))[
            "result"
        ]
        return result["task"] if self._old else result

    async def get(self, task: str) -> Any:
        return (await self.ask("tasks/get", taskId=task))["result"]

    async def comes_to(self, task: str, *status: str) -> Any:
        """What is told of a task once it has one of those."""
        for _ in range(200):
            told = await self.get(task)
            if told["status"] in status:
                return told
            await asyncio.sleep(0.01)
        raise AssertionError(told)


@BOTH
def test_a_call_becomes_a_task_at_once(tmp_path: Path, old: bool) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            client = Client(gate, old)
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
            client = Client(gate, False, "Mcp-Param-Id: 7")
            task = await client.call()
            await gate.approve()
            assert gate.server.received == []
            poller = Client(gate, False, "X-Poll: yes")
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
            client = Client(gate, True)
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


@BOTH
@pytest.mark.parametrize("end", ["rejected", "timed out"])
def test_a_task_that_was_not_sent_tells_why(tmp_path: Path, old: bool, end: str) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path, ManualClock()) as gate:
            client = Client(gate, old)
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
            client = Client(gate, old)
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


@BOTH
@pytest.mark.parametrize("method", ["tasks/get", "tasks/cancel"])
@pytest.mark.parametrize("task", ["tg_nothing", "tg_../x", "other"])
def test_a_task_that_is_not_there_is_an_invalid_parameter(
    tmp_path: Path, old: bool, method: str, task: str
) -> None:
    async def script(request: Received, peer: Peer) -> None:
        error = {"code": -32601, "message": "Method not found"}
        answer = {"jsonrpc": "2.0", "id": request.message["id"], "error": error}
        await peer.reply(dumps(answer), status=200)

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            error = (await Client(gate, old).ask(method, taskId=task))["error"]
            assert error["code"] == (-32601 if task == "other" and not old else -32602)

    test()


def test_another_caller_does_not_see_the_task(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            task = (await Client(gate, False, "Authorization: Bearer a").call())["taskId"]
            other = Client(gate, False, "Authorization: Bearer b")
            assert (await other.ask("tasks/get", taskId=task))["error"]["code"] == -32602

    test()


def test_a_client_that_does_not_declare_tasks_may_not_ask_for_them(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            reply = await gate.send(modern("tasks/get", taskId="tg_x"), MODERN)
            assert reply.status == 400
            assert reply.json["error"]["code"] == -32021
            assert "requiredCapabilities" in reply.json["error"]["data"]

    test()


@pytest.mark.parametrize("has_tasks", [True, False])
def test_our_tasks_stand_before_the_servers(tmp_path: Path, has_tasks: bool) -> None:
    async def script(request: Received, peer: Peer) -> None:
        message = request.message
        if message["method"] != "tasks/list":
            await polite(request, peer)
            return
        answer: dict[str, Any] = {"error": {"code": -32601, "message": "Method not found"}}
        if has_tasks:
            answer = {"result": {"tasks": [{"taskId": "theirs"}], "nextCursor": "more"}}
        await peer.reply(dumps({"jsonrpc": "2.0", "id": message["id"], **answer}))

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            client = Client(gate, True)
            ours = (await client.call())["taskId"]
            result = (await client.ask("tasks/list"))["result"]
            listed = [task["taskId"] for task in result["tasks"]]
            assert listed == ([ours, "theirs"] if has_tasks else [ours])
            assert result.get("nextCursor") == ("more" if has_tasks else None)
            other = Client(gate, True, "Authorization: Bearer other")
            listed = [t["taskId"] for t in (await other.ask("tasks/list"))["result"]["tasks"]]
            assert ours not in listed
            if has_tasks:
                page = await client.ask("tasks/list", cursor="more")
                assert [t["taskId"] for t in page["result"]["tasks"]] == ["theirs"]

    test()


def test_the_servers_own_tasks_pass_untouched(tmp_path: Path) -> None:
    async def script(request: Received, peer: Peer) -> None:
        message = request.message
        value = {"taskId": message["params"]["taskId"], "status": "working", "x": 1}
        await peer.reply(dumps({"jsonrpc": "2.0", "id": message["id"], "result": value}))

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            for old in (False, True):
                told = await Client(gate, old).get("theirs")
                assert told == {"taskId": "theirs", "status": "working", "x": 1}

    test()


def test_a_task_survives_a_restart(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            client = Client(gate, False)
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
            client = Client(gate, False)
            assert (await client.call())["taskId"] == (await client.call())["taskId"]
            await gate.asked()
            assert len(gate.page.asked) == 1

    test()


def test_what_the_server_asks_back_is_asked_through_the_task(tmp_path: Path) -> None:
    async def script(request: Received, peer: Peer) -> None:
        message = request.message
        value: dict[str, Any] = {
            "resultType": "input_required",
            "requestState": "s",
            "inputRequests": {"who": {"method": "elicitation/create", "params": {}}},
        }
        if "inputResponses" in message["params"]:
            assert message["params"]["requestState"] == "s"
            value = {"resultType": "complete", "content": [{"type": "text", "text": "thanks"}]}
        await peer.reply(dumps({"jsonrpc": "2.0", "id": message["id"], "result": value}))

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            client = Client(gate, False)
            task = (await client.call())["taskId"]
            await gate.approve()
            told = await client.comes_to(task, "input_required")
            assert told["inputRequests"]["who"]["method"] == "elicitation/create"
            assert "result" not in told
            ack = await client.ask("tasks/update", taskId=task, inputResponses={"who": {"a": 1}})
            assert ack["result"] == {"resultType": "complete"}
            told = await client.comes_to(task, "completed")
            assert told["result"]["content"][0]["text"] == "thanks"
            assert [line for line in await gate.audit() if line.get("step") == "answers"]

    test()


def test_a_task_that_the_server_makes_of_the_call_is_seen_through_ours(tmp_path: Path) -> None:
    async def script(request: Received, peer: Peer) -> None:
        message = request.message
        value: dict[str, Any] = {"resultType": "task", "taskId": "theirs", "status": "working"}
        if message["method"] == "tasks/get":
            assert message["params"]["taskId"] == request.header("mcp-name") == "theirs"
            done = {"content": [{"type": "text", "text": "slowly done"}]}
            value = {**value, "resultType": "complete", "status": "completed", "result": done}
        await peer.reply(dumps({"jsonrpc": "2.0", "id": message["id"], "result": value}))

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            client = Client(gate, False)
            task = (await client.call())["taskId"]
            await gate.approve()
            told = await client.comes_to(task, "completed")
            assert told["taskId"] == task
            assert told["result"]["content"][0]["text"] == "slowly done"

    test()


def test_what_the_server_asks_in_mid_call_waits_for_tasks_result(tmp_path: Path) -> None:
    asked = {"jsonrpc": "2.0", "id": "s-1", "method": "elicitation/create", "params": {"m": 1}}
    answered = asyncio.Event()

    async def script(request: Received, peer: Peer) -> None:
        if "method" not in request.message:
            await peer.reply(status=202)
            answered.set()
            return
        await peer.events()
        await peer.event(asked)
        await answered.wait()
        await peer.event(result(request.message))
        await peer.end()

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            client = Client(gate, True)
            task = (await client.call())["taskId"]
            await gate.approve()
            polling = asyncio.create_task(client.get(task))
            await within(lambda: gate.server.received, "the call at the server")
            told = await polling
            assert told["status"] == "input_required"
            async with held(gate.port, client.body("tasks/result", taskId=task), LEGACY) as stream:
                message = await stream.message()
                assert message["params"] == {"m": 1, "_meta": {RELATED: {"taskId": task}}}
                await gate.send(dumps({"jsonrpc": "2.0", "id": "s-1", "result": {}}), LEGACY)
                assert text_of(await stream.message()) == "did delete_user"

    test()


@pytest.mark.parametrize("change", ["rule", "freeze"])
def test_an_answer_through_the_task_is_judged_anew(tmp_path: Path, change: str) -> None:
    deny = {"rules": [{"match": "delete_*", "action": "deny"}]}
    governance, words = {"rule": (deny, "denies it"), "freeze": ({"freeze": True}, "frozen")}[
        change
    ]

    async def script(request: Received, peer: Peer) -> None:
        value = {"resultType": "input_required", "requestState": "s", "inputRequests": {"who": {}}}
        await peer.reply(dumps({"jsonrpc": "2.0", "id": request.message["id"], "result": value}))

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            client = Client(gate, False)
            task = (await client.call())["taskId"]
            await gate.approve()
            await client.comes_to(task, "input_required")
            gate.reload(governance=governance)
            await client.ask("tasks/update", taskId=task, inputResponses={"who": {"a": 1}})
            told = await client.comes_to(task, "completed")
            assert told["result"]["isError"] is True
            assert words in told["result"]["content"][0]["text"]
            assert len(gate.server.received) == 1, "the answer must not reach the server"
            assert not [line for line in await gate.audit() if line.get("step") == "answers"]

    test()


@BOTH
def test_a_task_of_one_source_is_none_of_anothers(tmp_path: Path, old: bool) -> None:
    async def script(request: Received, peer: Peer) -> None:
        if request.message["method"] == "tasks/list":
            error = {"code": -32601, "message": "Method not found"}
            await peer.reply(dumps({"jsonrpc": "2.0", "id": request.message["id"], "error": error}))
        else:
            await polite(request, peer)

    @run
    async def test() -> None:
        async with FakeMcpServer(script) as behind:
            sources = [{"id": id, "url": behind.url} for id in ("one", "other")]
            async with room(tmp_path, sources=sources) as gate:
                mine, other = (Client(gate, old, target=f"/{s['id']}") for s in sources)
                task = (await mine.call())["taskId"]
                await gate.approve()
                methods = ("tasks/get", "tasks/cancel", "tasks/result" if old else "tasks/update")
                for method in methods:
                    error = (await other.ask(method, taskId=task))["error"]
                    assert error["message"] == f"there is no task `{task}`"
                if old:
                    listed = [await c.ask("tasks/list") for c in (mine, other)]
                    ids = [[t["taskId"] for t in one["result"]["tasks"]] for one in listed]
                    assert ids == [[task], []]
                assert behind.calls() == [], "nor is the approved call sent for such a request"
                assert "result" in await mine.comes_to(task, "completed") or old
                assert behind.calls() == ["delete_user"]

    test()


def test_what_waits_and_is_no_call_of_a_tool_is_not_listed_as_a_task(tmp_path: Path) -> None:
    async def script(request: Received, peer: Peer) -> None:
        value: dict[str, Any] = {"tasks": []}
        await peer.reply(dumps({"jsonrpc": "2.0", "id": request.message["id"], "result": value}))

    @run
    async def test() -> None:
        async with (
            room(tmp_path) as gate,
            held(gate.port, legacy("prompts/get", 9, name="delete_prompt"), LEGACY),
        ):
            gate.server.script = script
            await gate.asked()
            assert (await Client(gate, True).ask("tasks/list"))["result"]["tasks"] == []

    test()


def test_what_the_server_asks_back_is_answered_once(tmp_path: Path) -> None:
    go_on = asyncio.Event()

    async def script(request: Received, peer: Peer) -> None:
        message = request.message
        value: dict[str, Any] = {"resultType": "input_required", "inputRequests": {"who": {}}}
        if "inputResponses" in message["params"]:
            await go_on.wait()
            value = {"resultType": "complete", "content": []}
        await peer.reply(dumps({"jsonrpc": "2.0", "id": message["id"], "result": value}))

    @run
    async def test() -> None:
        async with room(tmp_path) as gate:
            gate.server.script = script
            client = Client(gate, False)
            task = (await client.call())["taskId"]
            await gate.approve()
            await client.comes_to(task, "input_required")
            for _ in range(2):
                await client.ask("tasks/update", taskId=task, inputResponses={"who": {"a": 1}})
                assert (await client.get(task))["status"] == "working"
            go_on.set()
            await client.comes_to(task, "completed")
            await client.ask("tasks/update", taskId=task, inputResponses={"who": {"a": 1}})
            assert (await client.get(task))["status"] == "completed"
            assert len(gate.server.received) == 2, "the call and one answer"

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
            client = Client(gate, True)
            task = (await client.call())["taskId"]
            await gate.approve()
            polling = asyncio.create_task(client.get(task))
            await within(lambda: gate.server.received, "the call at the server")
            told = (await Client(gate, True).ask("tasks/cancel", taskId=task))["result"]
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
            client = Client(gate, False)
            task = (await client.call())["taskId"]
            await gate.approve()
            await client.comes_to(task, "completed")
            again = await client.call()
            assert (again["taskId"] != task, again["status"]) == (True, "working")
            assert len(gate.server.received) == 1

    test()
