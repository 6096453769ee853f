"""The real adapter, with the real Slack client, before a fake Slack."""

import asyncio
import contextlib
import itertools
import json
import random
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from tests.harness.fake_queue import FakeQueue
from tests.harness.log import Lines
from tests.harness.slack import TOKEN, FakeSlack
from tests.harness.wait import within
from thoughtgate_proxy.approvals.channels.channel import ChannelSettings
from thoughtgate_proxy.approvals.channels.slack.account import TOKEN_VARIABLE, URL_VARIABLE, Account
from thoughtgate_proxy.approvals.channels.slack.channel import SlackChannel
from thoughtgate_proxy.approvals.channels.slack.poller import Pace
from thoughtgate_proxy.approvals.channels.slack.workflow import SlackWorkflow
from thoughtgate_proxy.approvals.clock import SystemClock
from thoughtgate_proxy.core.approval import Approval, Asked, Call, State
from thoughtgate_proxy.core.config.values import Kind, Workflow
from thoughtgate_proxy.telemetry import exposition
from thoughtgate_proxy.telemetry.metrics import Metrics

QUICK = Pace(least=0.02, most=0.1, last_look=0.2, by_age=0.0)
_NUMBERS = itertools.count(1)


def workflow(**settings: Any) -> SlackWorkflow:
    """A workflow of Slack's, by default with one listed approver."""
    given: dict[str, Any] = {"channel": "#approvals", "approvers": ("U0ALICE",), **settings}
    return SlackWorkflow(adapter="slack", **given)


def approval(
    arguments: Any = None,
    *,
    name: str = "delete_user",
    kind: Kind = Kind.TOOL,
    opened: float | None = None,
    timeout: float = 600.0,
    required: int = 1,
    asked: Mapping[str, Any] | None = None,
    **fields: Any,
) -> Approval:
    """A request that was just opened."""
    method = {Kind.TOOL: "tools/call", Kind.PROMPT: "prompts/get", Kind.RESOURCE: "resources/read"}
    key = "uri" if kind is Kind.RESOURCE else "name"
    params = {key: name} | ({} if arguments is None else {"arguments": arguments})
    body = {"jsonrpc": "2.0", "id": 7, "method": method[kind], "params": params}
    opened = time.time() if opened is None else opened
    facts: dict[str, Any] = {
        "workflow": "default", "adapter": "slack", "gate": "rules", "rule": 0,
        "reason": "rule 0 (`delete_*`) asks for approval", "match": "delete_*",
        "namespace": "agents", "pod": "my-agent-7d4f", "correlation": "c0ffee01",
    }  # fmt: skip
    return Approval(
        id=f"a{next(_NUMBERS):08d}",
        call=Call(
            principal='Agent::"data/my-agent"', source="upstream", method=method[kind], kind=kind,
            name=name, target="/mcp", body=json.dumps(body, ensure_ascii=False).encode(),
            digest="0" * 64,
        ),
        asked=Asked(**{**facts, **(asked or {})}),
        opened=opened,
        expires=opened + timeout,
        required=required,
        **fields,
    )  # fmt: skip


def slack_queue(**workflows: Workflow) -> FakeQueue:
    """Slack's queue, by default with the workflow `default`."""
    return FakeQueue("slack", workflows or {"default": workflow()}, SystemClock())


def account(token: str, url: str, environ: Mapping[str, str], secrets: Path) -> Account:
    """One whose token is in the environment, or in `secrets`."""
    return Account(ChannelSettings(secrets, {TOKEN_VARIABLE: token, URL_VARIABLE: url, **environ}))


class Office:
    """An adapter, and all that is around it."""

    def __init__(
        self,
        slack: FakeSlack,
        queue: FakeQueue,
        *,
        token: str = TOKEN,
        environ: Mapping[str, str] | None = None,
        secrets: Path = Path("/nonexistent"),
        **options: Any,
    ) -> None:
        self.slack, self.queue, self.log, self.metrics = slack, queue, Lines(), Metrics()
        self.ready = asyncio.Event()
        self.ready.set()
        settings: dict[str, Any] = {
            "pace": QUICK, "settle_seconds": 0.02, "ask_seconds": 60.0, "random": random.random,
        }  # fmt: skip
        self.adapter = SlackChannel(
            queue,
            account(token, slack.url, environ or {}, secrets),
            self.log,
            self.metrics,
            self.ready,
            wall=time.time,
            now=time.monotonic,
            **settings | options,
        )

    def counted(self, kind: str) -> int:
        """How often an error of that kind was counted."""
        text = exposition.text(self.metrics).decode()
        line = f'thoughtgate_errors_total{{error_type="{kind}",method=""}} '
        return sum(int(float(x.removeprefix(line))) for x in text.splitlines() if line in x)


@contextlib.asynccontextmanager
async def running(office: Office) -> AsyncIterator[Office]:
    """The adapter is asked and told, and looks for decisions meanwhile."""
    office.queue.attach(office.adapter)
    task = asyncio.create_task(office.adapter.run())
    try:
        yield office
    finally:
        failed = task.done() and task.exception()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        office.queue.attach(None)
        assert not failed, failed


@contextlib.asynccontextmanager
async def staffed(
    queue: FakeQueue | None = None,
    *,
    slack: contextlib.AbstractAsyncContextManager[FakeSlack] | None = None,
    **options: Any,
) -> AsyncIterator[tuple[FakeSlack, FakeQueue, Office]]:
    """A fake Slack, a queue, and an adapter at work between them."""
    queue = queue or slack_queue()
    async with slack or FakeSlack() as fake:
        office = Office(fake, queue, **options)
        async with running(office):
            yield fake, queue, office


async def becomes(queue: FakeQueue, asked: Approval, state: State) -> Approval:
    """The approval, once it has that state."""
    await within(lambda: queue.get(asked.id).state is state, f"{asked.id} to be {state}")
    return queue.get(asked.id)
