"""The page with the real service, and as part of the real process."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.harness.approval_service import Carrier, World, a_call
from tests.harness.clock import ManualClock
from tests.harness.log import Lines
from tests.harness.page_server import ANNA, BEN, Served, never_served
from tests.harness.proxy_process import APPROVER, RULES, config, fronted, started
from tests.harness.wait import run, soon, within
from tests.harness.wire import ask, call, post
from thoughtgate_proxy.approvals.channels.channel import Channel
from thoughtgate_proxy.approvals.channels.page.channel import PageChannel
from thoughtgate_proxy.approvals.channels.page.tokens import Approvers
from thoughtgate_proxy.approvals.queue import ApprovalQueue
from thoughtgate_proxy.core.approval import Ending, State
from thoughtgate_proxy.listeners.approvals.api import ApprovalsApi
from thoughtgate_proxy.listeners.sockets import bound
from thoughtgate_proxy.runtime.settings import LOOPBACK

URL = "http://127.0.0.1:9"
LIST = "/api/v1/approvals"
BOTH = {"default": {"adapter": "page", "approvers": ["anna", "ben"], "required": 2}}


class PagedWorld(World):
    """A service whose humans come by the page."""

    def make(self, _: str, queue: ApprovalQueue) -> Channel:  # type: ignore[override]  # no `Humans`
        """The page, not yet served."""
        self.tokens = self.folder / "approver-tokens"
        self.tokens.write_text(f"anna:{ANNA}\nben:{BEN}\n")
        self.approvers = Approvers(self.tokens, lambda _: None)
        self.paged = PageChannel(queue, self.approvers, self.clock.now, never_served, self.log)
        return self.paged


@asynccontextmanager
async def paged(folder: Path, **config: Any) -> AsyncIterator[tuple[PagedWorld, Served]]:
    """A service and its page."""
    world = PagedWorld(folder, ManualClock(), **config)
    await world.start()
    sockets = bound(LOOPBACK, 0)
    client = Served.__new__(Served)
    client.port = sockets[0].getsockname()[1]
    inbound = ApprovalsApi(world.paged, world.approvers, Lines(), {"principal": "data/agent"})
    await inbound.start(sockets)
    try:
        yield world, client
    finally:
        await inbound.close()
        await world.stop()
        world.close()


async def vote(client: Served, item: dict[str, Any], verdict: str, **options: Any) -> Any:
    """A vote on what was listed."""
    reason = options.pop("reason", "")
    body = {"verdict": verdict, "digest": item["digest"], "reason": reason}
    return await client.ask("POST", f"{LIST}/{item['id']}/votes", body, **options)


@run
async def test_an_approval_goes_all_its_way(tmp_path: Path) -> None:
    async with paged(tmp_path, approval=BOTH) as (world, client):
        opened = await world.open(a_call("delete_user", user_id="u-1029"))
        (item,) = (await client.ask("GET", LIST)).json["pending"]
        assert item["id"] == opened.id
        assert item["preview"] == '"user_id": "u-1029"'
        assert (await vote(client, item, "approve")).json["missing"] == 1
        assert (await vote(client, item, "approve")).json["missing"] == 1
        assert (await vote(client, item, "approve", token=BEN)).json["state"] == "approved"
        carrier = Carrier()
        outcome = await world.service.dispatcher.dispatch(opened.id, "", carrier)
        assert outcome.approval.state is State.DONE
        listed = (await client.ask("GET", LIST)).json
        assert listed["pending"] == []
        assert listed["recent"][0]["ending"] == "done"
        lines = [line for line in await world.audit() if line["step"] == "vote"]
    assert [line["approver"] for line in lines] == ["anna", "ben"]
    assert {line["approval"] for line in lines} == {opened.id}
    assert len(carrier.permits) == 1


@run
async def test_a_rejection_ends_it_with_the_approvers_words(tmp_path: Path) -> None:
    async with paged(tmp_path, approval=BOTH) as (world, client):
        opened = await world.open()
        (item,) = (await client.ask("GET", LIST)).json["pending"]
        answer = await vote(client, item, "reject", reason="not that one")
        assert answer.json["state"] == "rejected"
        settled = await world.service.settled(opened.id, 1)
        assert (settled.ending, settled.reason) == (Ending.REJECTED, "not that one")
        answer = await vote(client, item, "approve", token=BEN)
    assert (answer.status, answer.json["error"]["code"]) == (409, "too_late")


@run
async def test_what_times_out_is_told_to_a_view_that_waits(tmp_path: Path) -> None:
    async with paged(tmp_path, approval=BOTH) as (world, client):
        await world.open()
        listed = (await client.ask("GET", LIST)).json
        world.clock.move(601)

        async def ended() -> Any:
            version = listed["version"]
            while True:
                seen = (await client.ask("GET", f"{LIST}?wait=5&after={version}")).json
                if seen["recent"]:
                    return seen["recent"][0]
                version = seen["version"]

        assert (await soon(ended(), "the end"))["ending"] == "timed_out"


@run
async def test_what_is_being_sent_stays_in_sight(tmp_path: Path) -> None:
    async with paged(tmp_path) as (world, client):
        opened = await world.open()
        (item,) = (await client.ask("GET", LIST)).json["pending"]
        await vote(client, item, "approve")
        carrier = Carrier(hold=asyncio.Event())
        sending = asyncio.create_task(world.service.dispatcher.dispatch(opened.id, "", carrier))
        await within(lambda: carrier.permits, "the sending")

        async def states() -> list[str]:
            listed = (await client.ask("GET", LIST)).json
            return [one["state"] for one in (*listed["pending"], *listed["recent"])]

        async def comes(state: str) -> None:
            while await states() != [state]:
                pass  # each look is a request, and gives way to the rest

        await soon(comes("sending"), "that it is told")
        assert carrier.hold is not None
        carrier.hold.set()
        await sending
        await soon(comes("done"), "its end")


@run
async def test_nothing_is_left_pending_that_nobody_could_decide(tmp_path: Path) -> None:
    async with paged(tmp_path, approval=BOTH) as (world, _):
        world.tokens.write_text(f"anna:{ANNA}\n")
        opened = await world.open()
        ended = await world.comes_to(opened.id, State.CANCELLED)
    assert ended.ending is Ending.NOT_TOLD
    assert "1 of the listed approvers of `default` has a token" in ended.reason


# As part of the process


@asynccontextmanager
async def client(port: int) -> AsyncIterator[aiohttp.ClientSession]:
    """Anna, at the page of a process."""
    headers = {"Authorization": f"Bearer {APPROVER}"}
    async with aiohttp.ClientSession(f"http://localhost:{port}", headers=headers) as session:
        yield session


@run
async def test_the_process_serves_the_page_from_its_start(tmp_path: Path) -> None:
    env = {"POD_NAME": "agent-7", "POD_NAMESPACE": "ns"}
    async with started(tmp_path, config(URL), env=env) as proxy:
        ready = await proxy.line("ready")
        async with client(ready["page_port"]) as anna:
            listed = await (await anna.get(LIST)).json()
            assert listed["whose"] == {
                "principal": "data/agent", "namespace": "ns", "pod": "agent-7",
            }  # fmt: skip
            assert (await anna.get("/")).status == 200
            (tmp_path / "approver-tokens").write_text(f"ben:{BEN}\nshort:x\n")
            assert (await anna.get(LIST)).status == 401
        line = await proxy.line("the approvers' tokens changed")
        assert line["approvers"] == ["ben"]
        assert line["mistakes"][0].startswith("line 2: the token has 1 characters")
        assert await proxy.stop() == 0


@run
async def test_a_process_without_the_page_listens_on_no_port_for_it(tmp_path: Path) -> None:
    rules = RULES.replace("adapter: page", 'adapter: slack, channel: "#x"')
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    env = {"THOUGHTGATE_INBOUND_PORT": str(port), "THOUGHTGATE_APPROVER_TOKENS": "/none"}
    async with started(tmp_path, config(URL, rules), env=env) as proxy:
        assert "page_port" not in await proxy.line("ready")
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        # The first workflow that asks there opens it, if there are approvers.
        proxy.write(config(URL))
        await proxy.line("the changed configuration is refused; the last good one stays in force")
        assert await proxy.stop() == 0


@run
async def test_a_reload_brings_the_page(tmp_path: Path) -> None:
    rules = RULES.replace("adapter: page", 'adapter: slack, channel: "#x"')
    async with started(tmp_path, config(URL, rules)) as proxy:
        proxy.write(config(URL))
        line = await proxy.line("the approvals page is served")
        async with client(line["page_port"]) as anna:
            assert (await anna.get(LIST)).status == 200


@run
async def test_tokens_that_went_bad_keep_no_reload_out(tmp_path: Path) -> None:
    async with started(tmp_path, config(URL)) as proxy:
        await proxy.line("the approvals page is served")
        (tmp_path / "approver-tokens").write_text("anna:short\n")
        proxy.write(config(URL, RULES.replace("delete_*", "remove_*")))
        await proxy.line("configuration in force", reload=True)
        assert await proxy.stop() == 0


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "no such file or directory"), ("anna:short", "line 1: the token has 5 characters")],
)
@run
async def test_without_good_tokens_the_page_does_not_start(
    tmp_path: Path, content: str | None, words: str
) -> None:
    file = tmp_path / "tokens"
    if content is not None:
        file.write_text(content)
    env = {"THOUGHTGATE_APPROVER_TOKENS": str(file)}
    async with started(tmp_path, config(URL), env=env, ready=False, quiet=False) as proxy:
        assert await soon(proxy.process.wait(), "its end") == 1
        line = await proxy.line("cannot start")
    assert f"approval.default.adapter: the page needs `{file}`" in line["mistakes"][0]
    assert words in line["mistakes"][0]


@run
async def test_a_port_that_another_has_is_no_start(tmp_path: Path) -> None:
    """The agent could have taken it, and would be asked for tokens by approvers."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        env = {"THOUGHTGATE_INBOUND_PORT": port}
        async with started(tmp_path, config(URL), env=env, ready=False, quiet=False) as proxy:
            assert await soon(proxy.process.wait(), "its end") == 1
            assert "in use" in (await proxy.line("cannot start"))["mistakes"][0]


@run
async def test_a_listed_approver_without_a_token_is_warned_of(tmp_path: Path) -> None:
    rules = RULES.replace("adapter: page", "adapter: page, approvers: [anna, zoe]")
    async with started(tmp_path, config(URL, rules)) as proxy:
        line = await proxy.line("configuration warning")
    assert line["warning"] == "approval.default.approvers: `zoe` has no token for the page yet"


@run
async def test_a_held_call_goes_on_when_anna_says_so_and_only_then(tmp_path: Path) -> None:
    """Agent, gateway, service, page and server, each a real one."""
    async with fronted(tmp_path) as (server, proxy):
        ready = await proxy.line("ready")
        answer = asyncio.create_task(ask(proxy.port, post(call("delete_user", user="u-1"))))
        async with client(ready["page_port"]) as anna:

            async def waiting() -> dict[str, Any]:
                version = ""
                while True:
                    listed = await (await anna.get(f"{LIST}?wait=5&after={version}")).json()
                    if listed["pending"]:
                        return dict(listed["pending"][0])
                    version = listed["version"]

            item = await soon(waiting(), "the request on the page")
            assert item["name"] == "delete_user"
            assert not answer.done()
            assert not server.received
            body = {"verdict": "approve", "digest": item["digest"]}
            reply = await anna.post(f"{LIST}/{item['id']}/votes", json=body)
            assert reply.status == 200
            assert b"delete_user" in (await soon(answer, "the agent's answer")).body
        assert len(server.received) == 1
        line = await proxy.line("approval", step="vote")
        assert (line["approver"], line["verdict"]) == ("anna", "approve")
