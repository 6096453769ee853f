"""Who is measured: each with the command that starts it before the same upstream."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = Path(sys.executable).parent
CONFIG = """
schema: 1
sources:
  - {id: upstream, kind: mcp, url: "http://127.0.0.1:%d"}
governance:
  defaults: {action: forward}
  rules:
    - {match: "admin_*", action: deny}
"""


Prepare = Callable[[int, int, Path], Mapping[str, str]]
"""Takes a contender's port, the upstream's port and the contender's folder."""


def _nothing(_port: int, _upstream: int, _folder: Path) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True)
class Contender:
    """A program between the load and the upstream.

    `command` and `env` start it; `ready` is a path that answers 200 once it serves (None: as soon
    as it listens); `prepare` runs then, and gives the headers that each call must carry. Calls of
    `tool` go to `path`, and for `warm_seconds` none is counted; a load lasts
    `least_seconds` at least.
    """

    name: str
    command: Callable[[int, int, Path], list[str]]
    env: Prepare = _nothing
    path: str = "/"
    tool: str = "get_user"
    ready: str | None = None
    prepare: Prepare = _nothing
    warm_seconds: int = 1
    least_seconds: int = 1


def contenders() -> list[Contender]:
    """All that can be had here; the Rust original where THOUGHTGATE_RUST names it."""
    found = [thoughtgate(), Contender("plain", _plain)]
    rust = os.environ.get("THOUGHTGATE_RUST")
    if rust:
        found.append(
            Contender(
                "rust original",
                lambda _port, upstream, _folder: [
                    rust, "--upstream-url", f"http://127.0.0.1:{upstream}"
                ],
                _rust_env,
            )
        )  # fmt: skip
    return found


def _plain(port: int, upstream: int, _folder: Path) -> list[str]:
    return [sys.executable, "-m", "benchmarks.plain", str(port), str(upstream)]


def thoughtgate(config: str = CONFIG) -> Contender:
    """Ours, as shipped; `config` has a place for the upstream's port."""

    def command(_port: int, upstream: int, folder: Path) -> list[str]:
        path = folder / "config" / "config.yaml"
        path.parent.mkdir()
        path.write_text(config % upstream)
        for place in (path, path.parent):  # as old as a pod's: what is new is soon read again
            os.utime(place, (1_000_000_000, 1_000_000_000))
        tokens = folder / "approver-tokens"
        tokens.write_text("bench:0123456789abcdef0123456789abcdef\n")
        program = str(PROGRAMS / "thoughtgate-proxy")
        return [program, "run", "--config", str(path), "--identity", "bench/agent"]

    def env(port: int, _upstream: int, folder: Path) -> Mapping[str, str]:
        return {
            "THOUGHTGATE_OUTBOUND_PORT": str(port),
            "THOUGHTGATE_INBOUND_PORT": "0",
            "THOUGHTGATE_ADMIN_PORT": "0",
            "THOUGHTGATE_APPROVER_TOKENS": str(folder / "approver-tokens"),
            "THOUGHTGATE_STATE_DIR": str(folder),
            "THOUGHTGATE_GRACE_SECONDS": "5",
        }

    return Contender("thoughtgate", command, env)


def _rust_env(port: int, upstream: int, folder: Path) -> Mapping[str, str]:
    config = folder / "rust.yaml"
    config.write_text(CONFIG % upstream)
    return {
        "SLACK_BOT_TOKEN": "xoxb-x",
        "THOUGHTGATE_SLACK_BOT_TOKEN": "xoxb-x",
        "RUST_LOG": "error",
        "THOUGHTGATE_RATE_LIMIT_RPS": "100000000",
        "THOUGHTGATE_RATE_LIMIT_BURST": "100000000",
        "THOUGHTGATE_UPSTREAM": f"http://127.0.0.1:{upstream}",
        "THOUGHTGATE_OUTBOUND_PORT": str(port),
        "THOUGHTGATE_ADMIN_PORT": str(port + 1),
        "THOUGHTGATE_CONFIG": str(config),
    }
