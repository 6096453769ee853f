"""The real adapter, with the real Slack client, before a fake Slack."""

import asyncio
import contextlib
import itertools
import json
import random
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from tests.harness.docket import FakeDocket
from tests.harness.log import Lines
from tests.harness.slack import TOKEN, FakeSlack
from tests.harness.wait import within
from thoughtgate_proxy.approvals.channels.slack.channel import SlackChannel
from thoughtgate_proxy.approvals.channels.slack.client import Account
from thoughtgate_proxy.approvals.channels.slack.poller import Pace
from thoughtgate_proxy.approvals.clock import SystemClock
from thoughtgate_proxy.core.approval import Approval, Asked, Call, State
from thoughtgate_proxy.core.config.values import Adapter, Kind, Workflow
from thoughtgate_proxy.telemetry import exposition
from thoughtgate_proxy.telemetry.metrics import Metrics

QUICK = Pace(least=0.02, most=0.1, last_look=0.2, by_age=0.0)
_NUMBERS = itertools.count(1)


def workflow(**settings: Any) -> Workflow:
    """A workflow of Slack's, by default with one listed approver."""
    given: dict[str, Any] = {"channel": "#approvals", "approvers": ("U0ALICE",), **settings}
    return Workflow(adapter=Adapter.SLACK, **given)


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
        "workflow": "default", "adapter": Adapter.SLACK, "gate": "rules", "rule": 0,
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


def slack_docket(**workflows: Workflow) -> FakeDocket:
    """Slack's docket, by default with the workflow `default`."""
    return FakeDocket(Adapter.SLACK, workflows or {"default": workflow()}, SystemClock())


class Office:
    """An adapter, and all that is around it."""

    def __init__(
        self,
        slack: FakeSlack,
        docket: FakeDocket,
        *,
        token: str = TOKEN,
        environ: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        self.slack, self.docket, self.log, self.metrics = slack, docket, Lines(), Metrics()
        self.ready = asyncio.Event()
        self.ready.set()
        settings: dict[str, Any] = {
            "pace": QUICK, "settle_seconds": 0.02, "ask_seconds": 60.0, "random": random.random,
        }  # fmt: skip
        self.adapter = SlackChannel(
            docket,
            Account(token, slack.url, environ or {}),
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
    office.docket.attach(office.adapter)
    task = asyncio.create_task(office.adapter.run())
    try:
        yield office
    finally:
        failed = task.done() and task.exception()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        office.docket.attach(None)
        assert not failed, failed


@contextlib.asynccontextmanager
async def staffed(
    docket: FakeDocket | None = None,
    *,
    slack: contextlib.AbstractAsyncContextManager[FakeSlack] | None = None,
    **options: Any,
) -> AsyncIterator[tuple[FakeSlack, FakeDocket, Office]]:
    """A fake Slack, a docket, and an adapter at work between them."""
    docket = docket or slack_docket()
    async with slack or FakeSlack() as fake:
        office = Office(fake, docket, **options)
        async with running(office):
            yield fake, docket, office


async def becomes(docket: FakeDocket, asked: Approval, state: State) -> Approval:
    """The approval, once it has that state."""
    await within(lambda: docket.get(asked.id).state is state, f"{asked.id} to be {state}")
    return docket.get(asked.id)
