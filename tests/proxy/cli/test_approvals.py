"""`thoughtgate-proxy approvals`: the page from a shell."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.harness.page_server import ANNA, BEN, Served, served
from tests.harness.proxy_process import COMMAND
from tests.harness.wait import run
from thoughtgate_proxy.core.approval import State, Transition
from thoughtgate_proxy.core.config.values import Workflow


class Done:
    """A command that has ended."""

    def __init__(self, code: int, out: bytes, err: bytes) -> None:
        self.code, self.out, self.err = code, out.decode(), err.decode()

    @property
    def json(self) -> Any:
        """What it printed."""
        return json.loads(self.out)


async def shell(
    world: Served | None, folder: Path, *arguments: str, token: str = ANNA, url: str = ""
) -> Done:
    """Run the command as a person does."""
    (folder / "token").write_text(f"{token}\n")
    options = (
        "--url",
        world.url if world and not url else url,
        "--token-file",
        str(folder / "token"),
    )
    process = await asyncio.create_subprocess_exec(
        COMMAND, "approvals", arguments[0], *options, *arguments[1:],
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "http_proxy": "http://127.0.0.1:9"},
    )  # fmt: skip
    out, err = await process.communicate()
    assert b"Traceback" not in err, err.decode()
    return Done(process.returncode or 0, out, err)


@run
async def test_what_waits_is_a_table(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        assert (await shell(world, tmp_path, "list")).out == "nothing waits for a decision\n"
        item = await world.open(lasts=125)
        ended = await world.open("drop_table", required=2)
        await world.queue.step(ended.id, Transition.EXPIRE)
        table = (await shell(world, tmp_path, "list")).out.splitlines()
        everything = (await shell(world, tmp_path, "list", "--all")).out
    assert table[0].split() == ["ID", "STATE", "LEFT", "APPROVALS", "SOURCE", "NAME"]
    assert table[1].split() == [
        item.id[:11], "pending", "2m05s", "0", "of", "1", "upstream", "delete_user",
    ]  # fmt: skip
    assert len(table) == 2
    assert "expired  -" in everything
    assert "drop_table" in everything


@run
async def test_ids_are_as_long_as_they_need_to_be(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        for last in "12":
            await world.open(id=f"tg_0000000000000000{last}")
        table = (await shell(world, tmp_path, "list")).out.splitlines()
        assert [line.split()[0] for line in table[1:]] == [
            "tg_00000000000000001", "tg_00000000000000002",
        ]  # fmt: skip
        both = await shell(world, tmp_path, "approve", "tg_0000")
        assert (both.code, "begins 2 ids" in both.err) == (1, True)
        short = await shell(world, tmp_path, "approve", "tg_0")
        assert (short.code, "at least 6 characters" in short.err) == (1, True)
        assert world.queue.votes == []


@run
async def test_one_request_is_shown_whole(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        world.queue.workflows["default"] = Workflow(adapter="page", redact_fields=("pin",))
        item = await world.open("pay", {"to": "x" * 5000, "pin": "4711"})
        done = await shell(world, tmp_path, "show", item.id[:12])
    assert done.code == 0
    for text in (
        item.id, "x" * 5000, item.call.principal, "my-namespace", "my-agent-7f9c4",
        item.asked.reason, item.asked.correlation, item.call.digest, "0 of 1",
        "redacted, and sent all the same: pin", "  | Deletes a user for good.",
        "you:         may approve or reject",
    ):  # fmt: skip
        assert text in done.out
    assert "4711" not in done.out


@run
async def test_strangers_words_cannot_forge_the_terminal(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        await world.open(
            "\x1b[2Jtool\r\u202e",
            {"a": "\x1b]0;title\x07", "b": "one\nstate:       approved"},
            description="harmless\nstate:       approved\x9b31m",
        )
        (item,) = world.queue.pending()
        shown = await shell(world, tmp_path, "show", item.id)
        listed = await shell(world, tmp_path, "list")
        raw = await shell(world, tmp_path, "show", item.id, "--json")
        wrong = await shell(world, tmp_path, "show", "\x1b[2Jnobody")
    for done in (shown, listed, raw, wrong):
        text = done.out + done.err
        assert all(character.isprintable() or character == "\n" for character in text), text
    assert [line for line in shown.out.splitlines() if line.startswith("state:")] == [
        "state:       pending"
    ]


def forged(text: str, **more: object) -> dict[str, object]:
    """A request in which every text is `text`, as no page of ours would answer."""
    words = (
        "id", "state", "source", "name", "outcome", "principal", "namespace", "pod", "method",
        "why", "workflow", "correlation_id", "digest", "description", "arguments", "others",
    )  # fmt: skip
    vote = {"name": text, "verdict": "approve", "at": 0.0, "reason": text}
    facts = {"may": ["approve"], "may_not": text, "policies": [text], "redacted": [text]}
    numbers = {"now": 0.0, "deadline": 1.0, "required": 1, "missing": 0}
    return {**dict.fromkeys(words, text), "votes": [vote], **facts, **numbers, **more}


@pytest.mark.parametrize("what", ["list", "show", "approve"])
@run
async def test_not_even_a_page_of_the_agents_own_can_forge_the_terminal(
    tmp_path: Path, what: str
) -> None:
    item = forged("\x1b[2J\r\u202eok\x9b", id="tg_1234567890")
    answers: dict[str, object] = {
        "/api/v1/approvals": {"now": 0.0, "pending": [item], "recent": []},
        "/api/v1/approvals/tg_1234567890": item,
        "/api/v1/approvals/tg_1234567890/votes": item,
    }

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(answers[request.path])

    async with answering(answer) as url:
        more = () if what == "list" else ("tg_123456",)
        done = await shell(None, tmp_path, what, *more, url=url)
    assert done.code == 0, done.err
    assert "\\u001b[2J" in done.out
    text = done.out + done.err
    assert all(character.isprintable() or character == "\n" for character in text), text


@pytest.mark.parametrize("body", [b"{}", b"[]", b"x", b'{"pending": 1, "recent": {}}', b"null"])
@run
async def test_what_is_no_page_is_said_to_be_none(tmp_path: Path, body: bytes) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=body)

    async with answering(answer) as url:
        done = await shell(None, tmp_path, "list", url=url)
    assert (done.code, done.out) == (3, "")
    assert len(done.err.splitlines()) == 1


@asynccontextmanager
async def answering(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> AsyncIterator[str]:
    """A server that answers everything so; gives its URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@run
async def test_a_request_is_approved_and_another_rejected(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        first, second = await world.open(), await world.open("drop_table")
        done = await shell(world, tmp_path, "approve", first.id)
        assert (done.code, done.out) == (0, f"approved delete_user ({first.id})\n")
        done = await shell(world, tmp_path, "reject", second.id[:8], "--reason", "not today")
        assert (done.code, done.out) == (0, f"rejected drop_table ({second.id})\n")
    get = world.queue.get
    assert (get(first.id).state, get(second.id).state) == (State.APPROVED, State.REJECTED)
    assert get(second.id).reason == "not today"
    assert [vote.approver for vote in world.queue.votes] == ["anna", "anna"]


@run
async def test_two_people_approve_together(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        world.queue.workflows["default"] = Workflow(
            adapter="page", required=2, approvers=("anna", "ben")
        )
        item = await world.open(required=2)
        done = await shell(world, tmp_path, "approve", item.id)
        assert done.out.endswith("; 1 more must approve\n")
        done = await shell(world, tmp_path, "approve", item.id, "--json", token=BEN)
    assert done.json["state"] == "approved"


@run
async def test_what_is_refused_is_said_and_exits_1(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        item = await world.open()
        for arguments, token, words in (
            (("approve", "tg_none"), ANNA, "waits for a decision"),
            (("show", "tg_none"), ANNA, "no request `tg_none`"),
            (("list",), "nobodys-token-00000000", "no approver's token"),
            (("reject", item.id, "--reason", "x" * 1001), ANNA, "length <= 1000"),
        ):
            done = await shell(world, tmp_path, *arguments, token=token)
            assert done.code == 1
            assert words in done.err, done.err
            assert len(done.err.splitlines()) == 1
            assert done.out == ""
        await world.queue.step(item.id, Transition.EXPIRE)
        assert (await shell(world, tmp_path, "approve", item.id)).code == 1


@run
async def test_nobody_there_exits_3(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
    async with served(tmp_path) as world:
        done = await shell(world, tmp_path, "list", url=f"http://127.0.0.1:{port}")
    assert done.code == 3
    assert "port-forward" in done.err


@pytest.mark.parametrize(
    "url",
    [
        "http://evil.example:7468", "https://localhost:7468", "localhost:7468",
        "http://localhost@evil.example", "http://localhost:7468/x", "http://localhost:99999",
    ],
)  # fmt: skip
def test_the_token_is_sent_nowhere_but_through_a_port_forward(tmp_path: Path, url: str) -> None:
    (tmp_path / "token").write_text(ANNA)
    done = subprocess.run(
        [COMMAND, "approvals", "list", "--url", url, "--token-file", str(tmp_path / "token")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "http://localhost:PORT" in done.stderr


@pytest.mark.parametrize("content", ["", "two words", "bell\x07", "line\nline"])
def test_a_token_file_holds_one_token(tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content)
    for file in (str(tmp_path / "token"), str(tmp_path / "none")):
        done = subprocess.run(
            [COMMAND, "approvals", "list", "--token-file", file],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert "--token-file" in done.stderr
        assert content.strip()[:4] not in done.stderr or not content.strip()


def test_it_starts_without_the_gates_libraries() -> None:
    code = (
        "import sys; from thoughtgate_proxy.cli.main import main\n"
        "try: main(['approvals', 'list', '--token-file', '/none'], {})\n"
        "finally: print([m for m in ('aiohttp', 'asyncio', 'sqlite3', 'uvloop') "
        "if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
