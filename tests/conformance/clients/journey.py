"""The verbs of a journey for clients in Python."""

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol

from mcp.shared.exceptions import MCPError
from mcp.types import CallToolResult, ContentBlock

Outcome = Any
DECISION = "io.thoughtgate/decision"
LIMIT = 60.0


@dataclass
class Heard:
    """What the server has said beside its answers."""

    progress: list[list[Any]] = field(default_factory=list)
    logs: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    changes: asyncio.Queue[str] = field(default_factory=asyncio.Queue)
    moved: asyncio.Event = field(default_factory=asyncio.Event)

    async def step(
        self, progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        """A step of progress."""
        self.progress.append([progress, total, message])
        self.moved.set()

    def clear(self) -> None:
        """Forget, before the next call."""
        for said in (self.progress, self.logs, self.asked):
            said.clear()
        self.moved.clear()

    def told(self) -> dict[str, Any]:
        """All that was said, without what was not."""
        said: dict[str, list[Any]] = {
            "progress": [*self.progress], "logs": [*self.logs], "asked": [*self.asked],
        }  # fmt: skip
        return {key: value for key, value in said.items() if value}


class Traveller(Protocol):
    """A client; what it cannot do it leaves out."""

    async def connected(self) -> Outcome: ...
    async def tools(self) -> list[str]: ...
    async def call(self, tool: str, arguments: dict[str, Any]) -> CallToolResult: ...
    async def prompts(self) -> list[str]: ...
    async def prompt(self, name: str, arguments: dict[str, str]) -> Sequence[ContentBlock]: ...
    async def resources(self) -> list[str]: ...
    async def templates(self) -> list[str]: ...
    async def read(self, uri: str) -> list[str]: ...
    async def complete(self, ref: dict[str, str], name: str, value: str) -> list[str]: ...
    async def log_level(self, level: str) -> None: ...
    async def ping(self) -> None: ...
    def watching(self, uri: str | None) -> AbstractAsyncContextManager[None]: ...


def part(block: ContentBlock) -> str:
    """One block of content in a line."""
    match block.type:
        case "text":
            return block.text
        case "image" | "audio":
            return f"{block.mime_type} {block.data}"
        case "resource":
            held = block.resource
            return f"{held.uri} {getattr(held, 'text', getattr(held, 'blob', ''))}"
        case "resource_link":
            return f"link {block.uri}"


def filled(schema: dict[str, Any]) -> dict[str, Any]:
    """What a user enters who agrees to everything and is called Ada."""
    return {name: _value(asked) for name, asked in schema.get("properties", {}).items()}


def _value(asked: dict[str, Any]) -> Any:
    if "enum" in asked:
        return asked["enum"][0]
    if choices := asked.get("oneOf") or asked.get("anyOf"):
        return choices[0]["const"]
    if "format" in asked:
        formats = {"email": "ada@example.com", "uri": "https://example.com/", "date": "1815-12-10"}
        return formats.get(asked["format"], "1815-12-10T00:00:00Z")
    match asked.get("type"):
        case "boolean":
            return True
        case "integer" | "number":
            return asked.get("minimum", 1)
        case "array":
            return [_value(asked.get("items", {}))]
    return "Ada"


class Journey:
    """Makes the steps, one after the other."""

    def __init__(self, traveller: Traveller, heard: Heard) -> None:
        self._with, self._heard = traveller, heard

    async def make(self, step: dict[str, Any]) -> Outcome:
        """The outcome of one step; an error of JSON-RPC is one too."""
        verb: Callable[..., Awaitable[Outcome]] = getattr(self, f"_{step['do']}")
        given = {key: value for key, value in step.items() if key not in ("do", "patient")}
        # Where a human decides, nothing but the client's own limit shall end the waiting.
        limit = None if step.get("patient") else LIMIT
        try:
            return await asyncio.wait_for(verb(**given), limit)
        except MCPError as error:
            return {"failed": error.error.code, "message": error.error.message}
        except TimeoutError:
            return f"waited {LIMIT:g} s in vain"

    async def _connect(self) -> Outcome:
        return await self._with.connected()

    async def _tools(self) -> Outcome:
        return sorted(await self._with.tools())

    async def _call(self, tool: str, arguments: dict[str, Any] | None = None) -> Outcome:
        self._heard.clear()
        result = await self._with.call(tool, arguments or {})
        told = {
            "content": [part(block) for block in result.content],
            "error": bool(result.is_error),
        }
        decision = (result.meta or {}).get(DECISION)
        return {**told, **self._heard.told(), **({"decision": decision} if decision else {})}

    async def _prompts(self) -> Outcome:
        return sorted(await self._with.prompts())

    async def _prompt(self, name: str, arguments: dict[str, str] | None = None) -> Outcome:
        self._heard.clear()
        parts = [part(block) for block in await self._with.prompt(name, arguments or {})]
        return {"content": parts, **self._heard.told()}

    async def _resources(self) -> Outcome:
        return sorted(await self._with.resources())

    async def _templates(self) -> Outcome:
        return sorted(await self._with.templates())

    async def _read(self, uri: str) -> Outcome:
        return await self._with.read(uri)

    async def _complete(self, ref: dict[str, str], name: str, value: str) -> Outcome:
        return await self._with.complete(ref, name, value)

    async def _log_level(self, level: str) -> Outcome:
        await self._with.log_level(level)
        return "set"

    async def _ping(self) -> Outcome:
        await self._with.ping()
        return "pong"

    async def _watch(self, call: str, uri: str | None = None) -> Outcome:
        async with self._with.watching(uri):
            await self._with.call(call, {})
            return await self._heard.changes.get()

    async def _cancel(self, tool: str, arguments: dict[str, Any]) -> Outcome:
        self._heard.clear()
        call = asyncio.ensure_future(self._with.call(tool, arguments))
        await self._heard.moved.wait()
        call.cancel()
        try:
            await call
        except (asyncio.CancelledError, MCPError):
            return "cancelled"
        return "it ended by itself"


def travel(
    open_client: Callable[[str, str, Heard], AbstractAsyncContextManager[Traveller]],
) -> None:
    """The whole program."""

    async def all_steps(url: str, era: str, steps: list[dict[str, Any]]) -> list[Outcome]:
        heard = Heard()
        async with open_client(url, era, heard) as traveller:
            journey = Journey(traveller, heard)
            return [await journey.make(step) for step in steps]

    url, era = sys.argv[1:]
    print(json.dumps(asyncio.run(all_steps(url, era, json.load(sys.stdin)))))
