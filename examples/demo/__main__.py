"""`make demo`: prints the patched pod, then tells the agents' calls one by one."""

import asyncio
import difflib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from mcp import Client

from examples.demo.processes import NotAsTold, free_port, lines, listens, running, wait
from examples.demo.story import STORY, Agent, Call

EXAMPLES = Path(__file__).parents[1]
PROGRAMS = Path(sys.executable).parent
AGENT_SECONDS = 60
COLOURS = {"bold": "1", "red": "31", "green": "32", "cyan": "36"}


def main() -> int:
    """The exit code: 0 if everything went as told, else 1."""
    try:
        say("bold", "1. The pod as its team writes it, and what the injector adds")
        pod = patched_pod()
        say("bold", "\n2. The same sidecar without a cluster: its configuration and environment")
        with tempfile.TemporaryDirectory(prefix="thoughtgate-demo-") as folder:
            tell(pod, Path(folder))
    except NotAsTold as error:
        say("red", f"\nNot as told: {error}")
        return 1
    say("bold", "\nEverything went as told.")
    return 0


def patched_pod() -> dict[str, Any]:
    """Patch the example pod as the webhook does, and print the difference."""
    example = EXAMPLES / "pod.yaml"
    command = [str(PROGRAMS / "thoughtgate-injector"), "inject", "-f", str(example)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        raise NotAsTold(f"the pod was refused: {done.stderr.strip()}")
    before, after = example.read_text().splitlines(), done.stdout.splitlines()
    for line in difflib.unified_diff(before, after, "pod.yaml", "pod.yaml injected", lineterm=""):
        say({"+": "green", "-": "red", "@": "cyan"}.get(line[0], ""), line)
    pod: dict[str, Any] = yaml.safe_load(done.stdout)
    return pod


def tell(pod: dict[str, Any], folder: Path) -> None:
    """Start the server, and for each agent a proxy as in its pod; tell each call."""
    port = free_port()
    config = yaml.safe_load((EXAMPLES / "config.yaml").read_text())["data"]
    for name, text in config.items():
        # The one difference: no cluster's DNS is here to know the server's name.
        here = text.replace("http://mcp-server:3000", f"http://127.0.0.1:{port}")
        (folder / name).write_text(here)
    server = [sys.executable, "-m", "examples.demo.server", str(port)]
    with running(server, folder / "server.log", os.environ, lambda: listens(port)):
        print(f"   a sample MCP server on port {port} stands for http://mcp-server:3000")
        for number, agent in enumerate(STORY, 3):
            say("bold", f"\n{number}. {agent.title}: {agent.labels}")
            with sidecar(pod, agent, folder) as (url, log):
                asyncio.run(asyncio.wait_for(ask(agent, url, log), AGENT_SECONDS))
    print("\n   each decision is one line of the sidecar's log; the last one:")
    print(f"   {json.dumps(lines(log, 'decision')[-1])}")


@contextmanager
def sidecar(pod: dict[str, Any], agent: Agent, folder: Path) -> Iterator[tuple[str, Path]]:
    """The proxy with the environment of the pod's sidecar; gives MCP_SERVER_URL and the log."""
    state = folder / agent.labels["app"]
    state.mkdir()
    labels, log = state / "labels", state / "log"
    # As the kubelet writes a downwardAPI volume.
    labels.write_text("".join(f'{key}="{value}"\n' for key, value in agent.labels.items()))
    container = pod["spec"]["initContainers"][0]
    env = {item["name"]: item["value"] for item in container["env"] if "value" in item} | {
        "THOUGHTGATE_CONFIG": str(folder / "config.yaml"),
        "THOUGHTGATE_LABELS": str(labels),
        "THOUGHTGATE_STATE_DIR": str(state),
        "THOUGHTGATE_OUTBOUND_PORT": "0",
        "THOUGHTGATE_ADMIN_PORT": "0",
        "POD_NAME": agent.labels["app"],
        "POD_NAMESPACE": "default",
    }
    program = [str(PROGRAMS / "thoughtgate-proxy"), "run"]
    with running(program, log, env, lambda: bool(lines(log, "ready"))):
        yield f"http://localhost:{lines(log, 'ready')[0]['port']}", log


async def ask(agent: Agent, url: str, log: Path) -> None:
    """Make the agent's calls with a real client, and hold each answer against the story."""
    async with Client(url) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        print(f"   MCP_SERVER_URL={url} lists {', '.join(tools)}")
        for number, call in enumerate(agent.calls, 1):
            arguments = ", ".join(f"{key}={value!r}" for key, value in call.arguments.items())
            print(f"\n   the agent asks    {call.tool}({arguments})")
            result = await client.call_tool(call.tool, call.arguments)
            text = " ".join(getattr(part, "text", "") for part in result.content)
            await asyncio.to_thread(decided, log, number)
            decision = lines(log, "decision")[number - 1]
            colour = "green" if decision["outcome"] == "forward" else "red"
            say(colour, f"   the gate decides  {decision['outcome']}: {decision['reason']}")
            print(f"   the model reads   {text}")
            check(call, decision, text, is_error=bool(result.is_error))


def decided(log: Path, number: int) -> None:
    """Wait for the log's line of that decision."""
    wait(lambda: len(lines(log, "decision")) >= number, f"decision {number} in the log")


def check(call: Call, decision: dict[str, Any], text: str, *, is_error: bool) -> None:
    """Raise NotAsTold unless the decision and the answer are those of the story."""
    if decision["outcome"] != call.outcome or is_error != (call.outcome == "deny"):
        raise NotAsTold(f"`{call.tool}` should be: {call.outcome}")
    if call.reason not in decision["reason"]:
        raise NotAsTold(f"`{call.tool}`: the reason should name `{call.reason}`")
    if is_error and decision["reason"] not in text:
        raise NotAsTold(f"`{call.tool}`: the model should read the reason")


def say(style: str, text: str) -> None:
    """Print, in colour unless NO_COLOR is set."""
    code = COLOURS.get(style)
    print(f"\033[{code}m{text}\033[0m" if code and "NO_COLOR" not in os.environ else text)


if __name__ == "__main__":
    sys.exit(main())
