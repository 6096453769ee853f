"""A sample MCP server: `python server.py PORT [HOST]`, on loopback if no host is given."""

import sys

from mcp.server import MCPServer

server = MCPServer("sample")


@server.tool()
def get_user(user_id: int) -> str:
    """Look a user up."""
    return f"user {user_id}: Ada"


@server.tool()
def delete_user(user_id: int) -> str:
    """Delete a user."""
    return f"user {user_id} is deleted"


@server.tool()
def admin_reset() -> str:
    """Reset everything."""
    return "everything is reset"


@server.tool()
def transfer_funds(amount: int, to: str) -> str:
    """Transfer money."""
    return f"{amount} sent to {to}"


if __name__ == "__main__":
    server.run(
        transport="streamable-http",
        host=sys.argv[2] if len(sys.argv) > 2 else "127.0.0.1",
        port=int(sys.argv[1]),
        streamable_http_path="/",
    )
