"""Other gateways that can be installed: each at its best, in an environment of its own.

An environment is made once in the user's cache folder, from `requirements/peers-*.txt`.
"""

import json
import os
import secrets
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from benchmarks.contenders import Contender, Prepare
from requirements import environment
from requirements.lock import pins

_FASTMCP = "peers-fastmcp"  # the locks in requirements/
_FORGE = "peers-contextforge"
_ADMIN = "bench@example.com"

# One client for all calls: as documented, with a client a call, it is ten times slower.
_FASTMCP_PROGRAM = """
import asyncio, sys
from fastmcp import Client
from fastmcp.server.providers.proxy import FastMCPProxy

async def main(port, upstream):
    async with Client(f"http://127.0.0.1:{upstream}/") as client:
        proxy = FastMCPProxy(client_factory=lambda: client, name="bench")
        await proxy.run_http_async(
            host="127.0.0.1", port=port, path="/", stateless_http=True, json_response=True,
            log_level="error", show_banner=False)

asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
"""


def peers() -> list[Contender]:
    """All of them, installed if they are not yet. Raises `environment.InstallFailedError`."""
    fastmcp, forge = _environment(_FASTMCP), _environment(_FORGE)
    return [
        Contender(
            f"FastMCP's proxy, one shared client ({_locked(_FASTMCP, 'fastmcp')})",
            lambda port, upstream, folder: [
                str(fastmcp), _written(folder, "proxy.py", _FASTMCP_PROGRAM),
                str(port), str(upstream),
            ],
        ),
        Contender(
            f"IBM ContextForge ({_locked(_FORGE, 'mcp-contextforge-gateway')})",
            lambda port, _upstream, _folder: [
                str(forge.with_name("mcpgateway")), "--host", "127.0.0.1", "--port", str(port)
            ],
            _forge_env,
            path="/mcp/",
            tool="up-get-user",
            ready="/health",
            prepare=_forge_prepared(forge),
            warm_seconds=10,
            least_seconds=10,
        ),
    ]  # fmt: skip


def _environment(lock: str) -> Path:
    """The interpreter of the environment that has what `lock` lists."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "thoughtgate" / "peers" / f"{lock}-{environment.key(lock)}"
    done = folder / ".installed"
    if not done.exists():
        print(f"installing requirements/{lock}.txt, once", file=sys.stderr)
        environment.make(folder, lock)
        done.touch()
    return environment.python_of(folder)


def _locked(lock: str, package: str) -> str:
    return f"{package}=={pins(environment.lock(lock).read_text())[package]}"


def _written(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def _forge_env(_port: int, _upstream: int, folder: Path) -> Mapping[str, str]:
    """Its answers to tools/call alone: no pages, no plugins, no log of each call, no rate limit."""
    password = f"A1!{secrets.token_urlsafe(24)}"
    return {
        "DATABASE_URL": f"sqlite:///{folder}/forge.db",
        "JWT_SECRET_KEY": _secret(folder),
        "AUTH_ENCRYPTION_SECRET": _secret(folder),
        "PLATFORM_ADMIN_EMAIL": _ADMIN,
        "PLATFORM_ADMIN_PASSWORD": password,
        "DEFAULT_USER_PASSWORD": password,
        "BASIC_AUTH_PASSWORD": password,
        "PASSWORD_CHANGE_ENFORCEMENT_ENABLED": "false",
        "MCP_REQUIRE_AUTH": "false",
        "REQUIRE_USER_IN_DB": "false",
        "MCPGATEWAY_UI_ENABLED": "false",
        "MCPGATEWAY_ADMIN_API_ENABLED": "false",
        "PLUGINS_ENABLED": "false",
        "OBSERVABILITY_ENABLED": "false",
        "STRUCTURED_LOGGING_DATABASE_ENABLED": "false",
        "COMPRESSION_ENABLED": "false",
        "LOG_LEVEL": "ERROR",
        "CACHE_TYPE": "memory",
        "HEALTH_CHECK_INTERVAL": "3600",
        "SSRF_ALLOW_LOCALHOST": "true",
        "SSRF_ALLOW_PRIVATE_NETWORKS": "true",
        "JSON_RESPONSE_ENABLED": "true",
        "USE_STATEFUL_SESSIONS": "false",
        "RATE_LIMITING_ENABLED": "false",
        "TOOL_RATE_LIMIT": "1000000",
        "HOST": "127.0.0.1",
    }


def _secret(folder: Path) -> str:
    path = folder / "secret"
    if not path.exists():
        path.write_text(secrets.token_urlsafe(48))
    return path.read_text()


def _forge_prepared(python: Path) -> Prepare:
    def prepare(port: int, upstream: int, folder: Path) -> Mapping[str, str]:
        """Make the upstream known; gives the header that its calls need."""
        made = subprocess.run(
            [
                str(python), "-m", "mcpgateway.utils.create_jwt_token", "--username", _ADMIN,
                "--exp", "600", "--secret", _secret(folder), "--admin",
            ],
            check=True, capture_output=True, text=True, timeout=60,
            env={**os.environ, **_forge_env(port, upstream, folder)},
        )  # fmt: skip
        bearer = {"Authorization": f"Bearer {made.stdout.split()[-1]}"}
        told = {
            "name": "up",
            "url": f"http://127.0.0.1:{upstream}/mcp",
            "transport": "STREAMABLEHTTP",
            "visibility": "public",
        }
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/gateways",
            json.dumps(told).encode(),
            {**bearer, "Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as reply:  # noqa: S310  our own on loopback
            reply.read()
        return bearer

    return prepare
