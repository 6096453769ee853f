"""A journey with the official package `mcp`."""

import asyncio
import warnings
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from mcp import Client
from mcp.client.session import ClientRequestContext
from mcp.shared.exceptions import MCPDeprecationWarning
from mcp.types import (
    CallToolResult,
    ContentBlock,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequestFormParams,
    ElicitRequestParams,
    ElicitResult,
    ListRootsResult,
    LoggingMessageNotificationParams,
    PromptReference,
    ResourceTemplateReference,
    Root,
    TextContent,
    TextResourceContents,
)
from pydantic import FileUrl

from tests.conformance.clients.journey import Heard, Outcome, filled, travel


class Official:
    """The client, and its answers to the server's questions."""

    def __init__(self, url: str, era: str, heard: Heard) -> None:
        self._heard = heard
        self.client = Client(
            url,
            mode="auto" if era == "modern" else "legacy",
            sampling_callback=self._sample,
            elicitation_callback=self._elicit,
            list_roots_callback=self._roots,
            logging_callback=self._log,
            message_handler=self._hear,
            log_level="info",
        )

    async def _sample(
        self,
        context: ClientRequestContext,  # noqa: ARG002
        params: CreateMessageRequestParams,  # noqa: ARG002
    ) -> CreateMessageResult:
        self._heard.asked.append("sampling/createMessage")
        text = TextContent(type="text", text="Paris")
        return CreateMessageResult(role="assistant", content=text, model="none")

    async def _elicit(
        self,
        context: ClientRequestContext,  # noqa: ARG002
        params: ElicitRequestParams,
    ) -> ElicitResult:
        self._heard.asked.append("elicitation/create")
        assert isinstance(params, ElicitRequestFormParams)
        return ElicitResult(action="accept", content=filled(params.requested_schema))

    async def _roots(self, context: ClientRequestContext) -> ListRootsResult:  # noqa: ARG002
        self._heard.asked.append("roots/list")
        return ListRootsResult(roots=[Root(uri=FileUrl("file:///home/ada"), name="home")])

    async def _log(self, params: LoggingMessageNotificationParams) -> None:
        self._heard.logs.append(f"{params.level}: {params.data}")

    @property
    def _subscribes(self) -> bool:
        """Whether changes are told by `subscriptions/listen`, and by that alone."""
        return self.client.protocol_version >= "2026"

    async def _hear(self, message: Any) -> None:
        match None if self._subscribes else getattr(message, "method", None):
            case "notifications/resources/updated":
                self._heard.changes.put_nowait(f"updated {message.params.uri}")
            case "notifications/tools/list_changed":
                self._heard.changes.put_nowait("the tools have changed")

    async def connected(self) -> Outcome:
        server = self.client.server_info
        return {"protocol": self.client.protocol_version, "server": server and server.name}

    async def tools(self) -> list[str]:
        return [tool.name for tool in (await self.client.list_tools()).tools]

    async def call(self, tool: str, arguments: dict[str, Any]) -> CallToolResult:
        step = self._heard.step
        return await self.client.call_tool(tool, arguments, progress_callback=step)

    async def prompts(self) -> list[str]:
        return [prompt.name for prompt in (await self.client.list_prompts()).prompts]

    async def prompt(self, name: str, arguments: dict[str, str]) -> Sequence[ContentBlock]:
        result = await self.client.get_prompt(name, arguments)
        return [message.content for message in result.messages]

    async def resources(self) -> list[str]:
        return [str(resource.uri) for resource in (await self.client.list_resources()).resources]

    async def templates(self) -> list[str]:
        found = await self.client.list_resource_templates()
        return [template.uri_template for template in found.resource_templates]

    async def read(self, uri: str) -> list[str]:
        contents = (await self.client.read_resource(uri)).contents
        return [c.text if isinstance(c, TextResourceContents) else c.blob for c in contents]

    async def complete(self, ref: dict[str, str], name: str, value: str) -> list[str]:
        kind = PromptReference if ref["type"] == "ref/prompt" else ResourceTemplateReference
        asked = {"name": name, "value": value}
        found = await self.client.complete(kind.model_validate(ref), asked)
        return found.completion.values

    async def log_level(self, level: str) -> None:
        await self.client.set_logging_level(level)  # type: ignore[arg-type]

    async def ping(self) -> None:
        await self.client.send_ping()

    @asynccontextmanager
    async def watching(self, uri: str | None) -> AsyncIterator[None]:
        if not self._subscribes:
            if uri is not None:
                await self.client.subscribe_resource(uri)
            yield
            return
        uris = [uri] if uri is not None else []
        async with self.client.listen(
            tools_list_changed=uri is None, resource_subscriptions=uris
        ) as events:
            pump = asyncio.ensure_future(self._pump(events))
            yield
            pump.cancel()

    async def _pump(self, events: Any) -> None:
        async for event in events:
            uri = getattr(event, "uri", None)
            self._heard.changes.put_nowait(f"updated {uri}" if uri else "the tools have changed")


@asynccontextmanager
async def opened(url: str, era: str, heard: Heard) -> AsyncIterator[Official]:
    """A connected client."""
    warnings.simplefilter("ignore", MCPDeprecationWarning)
    traveller = Official(url, era, heard)
    async with traveller.client:
        yield traveller


if __name__ == "__main__":
    travel(opened)
