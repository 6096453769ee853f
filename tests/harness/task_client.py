"""A client that makes tasks of its calls and polls them."""

import asyncio
from typing import Any

from tests.harness.hold_room import LEGACY, MODERN, Room, legacy, modern
from tests.harness.wire import ask, post

RELATED = "io.modelcontextprotocol/related-task"
NEW = {"name": "delete_user", "arguments": {"id": 7}}


class TaskClient:
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
