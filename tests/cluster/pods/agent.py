"""An agent: a real MCP client that makes calls and prints each answer as a line of JSON.

`python agent.py '[["get_user", {"user_id": 7}], ...]'`, against MCP_SERVER_URL.
"""

import asyncio
import json
import os
import sys

from mcp import Client


async def main(calls: list[tuple[str, dict[str, object]]]) -> None:
    """Make the calls in order."""
    async with Client(os.environ["MCP_SERVER_URL"]) as client:
        for tool, arguments in calls:
            result = await client.call_tool(tool, arguments)
            text = " ".join(getattr(part, "text", "") for part in result.content)
            print(json.dumps({"tool": tool, "is_error": bool(result.is_error), "text": text}))


asyncio.run(main(json.loads(sys.argv[1])))
