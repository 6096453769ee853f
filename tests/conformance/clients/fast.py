"""A journey with the package `fastmcp`."""

import warnings
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from fastmcp import Client
from fastmcp.client.elicitation import ElicitResult
from fastmcp.client.logging import LogMessage
from mcp.shared.exceptions import MCPDeprecationWarning
from mcp.types import (
    CallToolResult,
    ContentBlock,
    PromptReference,
    ResourceTemplateReference,
    TextResourceContents,
)

from tests.conformance.clients.journey import Heard, Outcome, filled, travel


class Fast:
    """The client, and its answers to the server's questions."""

    def __init__(self, url: str, era: str, heard: Heard) -> None:
        self._heard = heard
        self.client = Client(
            url,
            mode="auto" if era == "modern" else "legacy",
            sampling_handler=self._sample,
            elicitation_handler=self._elicit,
            roots=self._roots,
            log_handler=self._log,
            message_handler=self._hear,
        )

    async def _sample(self, _messages: Any, _params: Any, _context: Any) -> str:
        self._heard.asked.append("sampling/createMessage")
        return "Paris"

    async def _elicit(self, _message: str, _kind: Any, params: Any, _context: Any) -> Any:
        self._heard.asked.append("elicitation/create")
        return ElicitResult(action="accept", content=filled(params.requested_schema))

    async def _roots(self, _context: Any) -> list[str]:
        self._heard.asked.append("roots/list")
        return ["file:///home/ada"]

    async def _log(self, message: LogMessage) -> None:
        self._heard.logs.append(f"{message.level}: {message.data}")

    async def _hear(self, message: Any) -> None:
        if getattr(message, "method", None) == "notifications/tools/list_changed":
            self._heard.changes.put_nowait("the tools have changed")

    async def connected(self) -> Outcome:
        server = self.client.server_info
        return {"protocol": self.client.protocol_version, "server": server and server.name}

    async def tools(self) -> list[str]:
        return [tool.name for tool in await self.client.list_tools()]

    async def call(self, tool: str, arguments: dict[str, Any]) -> CallToolResult:
        return await self.client.call_tool_mcp(tool, arguments, progress_handler=self._heard.step)

    async def prompts(self) -> list[str]:
        return [prompt.name for prompt in await self.client.list_prompts()]

    async def prompt(self, name: str, arguments: dict[str, str]) -> Sequence[ContentBlock]:
        result = await self.client.get_prompt(name, arguments)
        return [message.content for message in result.messages]

    async def resources(self) -> list[str]:
        return [str(resource.uri) for resource in await self.client.list_resources()]

    async def templates(self) -> list[str]:
        return [found.uri_template for found in await self.client.list_resource_templates()]

    async def read(self, uri: str) -> list[str]:
        contents = await self.client.read_resource(uri)
        return [c.text if isinstance(c, TextResourceContents) else c.blob for c in contents]

    async def complete(self, ref: dict[str, str], name: str, value: str) -> list[str]:
        kind = PromptReference if ref["type"] == "ref/prompt" else ResourceTemplateReference
        asked = {"name": name, "value": value}
        return (await self.client.complete(kind.model_validate(ref), asked)).values

    async def log_level(self, level: str) -> None:
        await self.client.set_logging_level(level)  # type: ignore[arg-type]

    async def ping(self) -> None:
        await self.client.ping()

    @asynccontextmanager
    async def watching(self, uri: str | None) -> AsyncIterator[None]:
        """It hears of changed lists where it has a listening stream, and has no subscriptions."""
        assert uri is None
        yield


@asynccontextmanager
async def opened(url: str, era: str, heard: Heard) -> AsyncIterator[Fast]:
    """A connected client."""
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    traveller = Fast(url, era, heard)
    async with traveller.client:
        yield traveller


if __name__ == "__main__":
    travel(opened)
