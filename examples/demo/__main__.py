"""`make demo`: prints the patched pod, then tells the agents' calls one by one.

Where a call wants a human it waits for one on the approvals page. `DEMO=auto`, the default where
there is no terminal, decides by itself.
"""

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

from examples.demo.human import Human
from examples.demo.processes import NotAsTold, free_port, lines, listens, running, wait
from examples.demo.story import STORY, Agent, Call

EXAMPLES = Path(__file__).parents[1]
PROGRAMS = Path(sys.executable).parent
AGENT_SECONDS = 600
SLACK = 'adapter: slack\n    channel: "#approvals"\n'
COLOURS = {"bold": "1", "red": "31", "green": "32", "cyan": "36"}


def main() -> int:
    """The exit code: 0 if everything went as told, else 1."""
    try:
        say("bold", "1. The pod as its team writes it, and what the injector adds")
        pod = patched_pod()
        say("bold", "\n2. The same sidecar without a cluster: its configuration and environment")
        with tempfile.TemporaryDirectory(prefix="thoughtgate-demo-") as folder:
            tell(pod, Path(folder))
    except (NotAsTold, BaseExceptionGroup) as error:
        while isinstance(error, BaseExceptionGroup):  # the client's, around what we raised
            error = error.exceptions[0]
        if not isinstance(error, NotAsTold):
            raise
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
        # The two differences: there is no cluster's DNS here, and no Slack.
        here = text.replace("http://mcp-server:3000", f"http://127.0.0.1:{port}")
        here = here.replace(SLACK, "adapter: page\n")
        (folder / name).write_text(here)
    human = Human(folder)
    server = [sys.executable, "-m", "examples.demo.server", str(port)]
    with running(server, folder / "server.log", os.environ, lambda: listens(port)):
        print(f"   a sample MCP server on port {port} stands for http://mcp-server:3000")
        for number, agent in enumerate(STORY, 3):
            say("bold", f"\n{number}. {agent.title}: {agent.labels}")
            with sidecar(pod, agent, folder, human) as (url, log):
                asyncio.run(asyncio.wait_for(ask(agent, url, log, human), AGENT_SECONDS))
    print("\n   each decision, and each step of an approval, is one line of the log; the last one:")
    print(f"   {json.dumps(lines(log, 'approval')[-1])}")


@contextmanager
def sidecar(
    pod: dict[str, Any], agent: Agent, folder: Path, human: Human
) -> Iterator[tuple[str, Path]]:
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
        "THOUGHTGATE_APPROVER_TOKENS": str(human.tokens),
        "THOUGHTGATE_OUTBOUND_PORT": "0",
        "THOUGHTGATE_INBOUND_PORT": "0",
        "THOUGHTGATE_ADMIN_PORT": "0",
        "POD_NAME": agent.labels["app"],
        "POD_NAMESPACE": "default",
    }
    program = [str(PROGRAMS / "thoughtgate-proxy"), "run"]
    with running(program, log, env, lambda: bool(lines(log, "ready"))):
        yield f"http://localhost:{lines(log, 'ready')[0]['port']}", log


async def ask(agent: Agent, url: str, log: Path, human: Human) -> None:
    """Make the agent's calls with a real client, and hold each answer against the story."""
    async with Client(url) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        print(f"   MCP_SERVER_URL={url} lists {', '.join(tools)}")
        for number, call in enumerate(agent.calls, 1):
            arguments = ", ".join(f"{key}={value!r}" for key, value in call.arguments.items())
            print(f"\n   the agent asks    {call.tool}({arguments})")
            asked = asyncio.create_task(client.call_tool(call.tool, call.arguments))
            decision = await asyncio.to_thread(decided, log, number)
            colour = {"forward": "green", "hold": "cyan"}.get(decision["outcome"], "red")
            say(colour, f"   the gate decides  {decision['outcome']}: {decision['reason']}")
            if decision["outcome"] == "hold":
                await asyncio.to_thread(human.decide, log, call)
            result = await asked
            text = " ".join(getattr(part, "text", "") for part in result.content)
            print(f"   the model reads   {text}")
            check(call, decision, text, is_error=bool(result.is_error), alone=human.alone)


def decided(log: Path, number: int) -> dict[str, Any]:
    """Wait for the log's line of that decision; gives it."""
    wait(lambda: len(lines(log, "decision")) >= number, f"decision {number} in the log")
    return lines(log, "decision")[number - 1]


def check(call: Call, decision: dict[str, Any], text: str, *, is_error: bool, alone: bool) -> None:
    """Raise NotAsTold unless the decision and the answer are those of the story."""
    if decision["outcome"] != call.outcome:
        raise NotAsTold(f"`{call.tool}` should be: {call.outcome}")
    if call.reason not in decision["reason"]:
        raise NotAsTold(f"`{call.tool}`: the reason should name `{call.reason}`")
    if call.outcome == "hold" and not alone:
        return  # whatever the human said
    if is_error != (call.outcome == "deny" or call.refusal is not None):
        raise NotAsTold(f"`{call.tool}`: the model reads `{text}`")
    if is_error and (call.refusal or decision["reason"]) not in text:
        raise NotAsTold(f"`{call.tool}`: the model should read the reason")


def say(style: str, text: str) -> None:
    """Print, in colour unless NO_COLOR is set."""
    code = COLOURS.get(style)
    print(f"\033[{code}m{text}\033[0m" if code and "NO_COLOR" not in os.environ else text)


if __name__ == "__main__":
    sys.exit(main())
