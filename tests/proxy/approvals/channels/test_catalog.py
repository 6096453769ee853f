"""A channel is one package and one entry in a mapping: shown by one that no file of ours knows."""

import sys
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # it has no types
import pytest

from tests.harness.hold_room import LEGACY, held, legacy, text_of
from tests.harness.mcp_server import FakeMcpServer
from tests.harness.proxy_process import config, started
from tests.harness.wait import run, within
from tests.proxy.approvals.channels.toy.channel_type import TOY
from thoughtgate_proxy.approvals.channels.catalog import CHANNELS
from thoughtgate_proxy.cli.main import main
from thoughtgate_proxy.core.config.json_schema import json_schema

WITH_TOY = {**CHANNELS, "toy": TOY}
COMMAND = (sys.executable, "-m", "tests.proxy.approvals.channels.toy")
CALL = legacy("tools/call", name="delete_user", arguments={"user": "bob"})
RULES = """
governance:
  defaults: {action: forward}
  rules:
    - {match: "delete_*", action: approve}
approval:
  default: {adapter: toy, %s}
"""


def checked(
    folder: Path, keys: str, capsys: pytest.CaptureFixture[str], *options: str
) -> tuple[int, str]:
    """What `check` says of a workflow of the toy: its exit code, and all that it prints."""
    file = folder / "config.yaml"
    file.write_text(config("http://mcp", RULES % keys))
    code = main(["check", *options, str(file)], {"THOUGHTGATE_SECRETS_DIR": str(folder)}, WITH_TOY)
    printed = capsys.readouterr()
    return code, printed.err + printed.out


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("mailbox: here", "approval.default.mailbox: found `here`; allowed: an absolute path"),
        ("required: 1", "approval.default.mailbox: missing; required: a text"),
        ("mailbox: /m, letterbox: x", "approval.default.letterbox: unknown key"),
        ("mailbox: /m, mention: here", "approval.default.mention: the adapter `toy` has none"),
        (
            "mailbox: /m, approvers: [Z]",
            "found `Z`, which is no name; allowed: small letters",
        ),
        ("mailbox: /m", "no `approvers`: anyone with access to the mailbox may decide"),
        ("mailbox: /m", "approval.default: there is no key for the toy"),
    ],
)
def test_a_mistake_in_its_workflow_is_said_with_its_place(
    tmp_path: Path, keys: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, printed = checked(tmp_path, keys, capsys)
    assert code == 1
    assert words in printed


def test_a_good_workflow_is_taken_and_asked_for_online(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "toy-key").write_text("k")
    code, printed = checked(tmp_path, "mailbox: /m, approvers: [ada]", capsys, "--online")
    assert code == 0
    assert "workflows: default (toy)" in printed
    assert "toy:       asked for default" in printed
    assert "slack:     no workflow asks there" in printed


def test_the_product_does_not_know_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(config("http://mcp", RULES % "mailbox: /m"))
    assert main(["check", str(file)], {}) == 1
    assert "found `toy`; allowed: `slack`, `page`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("workflow", "good"),
    [
        ({"adapter": "toy", "mailbox": "/m"}, True),
        ({"adapter": "toy", "mailbox": "/m", "approvers": ["ada"]}, True),
        ({"adapter": "toy"}, False),
        ({"adapter": "toy", "mailbox": "/m", "channel": "#x"}, False),
        ({"adapter": "toy", "mailbox": "/m", "approvers": ["Z"]}, False),
        ({"adapter": "page", "mailbox": "/m"}, False),
        ({"adapter": "slack", "channel": "#x"}, True),
        ({"adapter": "mail", "mailbox": "/m"}, False),
    ],
)
def test_the_json_schema_has_its_keys(workflow: dict[str, Any], good: bool) -> None:
    file = {
        "schema": 1,
        "sources": [{"id": "a", "url": "http://a"}],
        "governance": {"defaults": {"action": "approve"}},
        "approval": {"default": workflow},
    }
    assert jsonschema.Draft202012Validator(json_schema(WITH_TOY)).is_valid(file) is good


def answer(question: Path, text: str) -> None:
    """A human's, there at once as a whole."""
    new = question.with_suffix(".new")
    new.write_text(text)
    new.rename(question.with_suffix(".vote"))


def state_of(question: Path) -> str:
    """What became of it, as the human is told."""
    state = question.with_suffix(".state")
    return state.read_text() if state.exists() else ""


@pytest.mark.parametrize("verdict", ["approve", "reject"])
def test_it_asks_counts_the_vote_and_decides_about_a_held_call(
    tmp_path: Path, verdict: str
) -> None:
    """The agent, the real process and the server; the human is this test."""
    mailbox = tmp_path / "mailbox"
    mailbox.mkdir()
    (tmp_path / "toy-key").write_text("k")
    env = {"THOUGHTGATE_SECRETS_DIR": str(tmp_path)}
    rules = RULES % f"mailbox: {mailbox}"

    @run
    async def test() -> None:
        async with (
            FakeMcpServer() as server,
            started(tmp_path, config(server.url, rules), env=env, command=COMMAND) as proxy,
            held(proxy.port, CALL, LEGACY) as stream,
        ):
            await within(lambda: list(mailbox.iterdir()), "the question")
            (question,) = mailbox.iterdir()
            assert question.read_text() == "k: delete_user"
            assert server.received == []
            assert "page_port" not in await proxy.line("ready")
            answer(question, f"ada {verdict}")
            said = await stream.message()
            if verdict == "approve":
                assert text_of(said) == "did delete_user"
                assert [one.body for one in server.received] == [CALL]
                await within(lambda: state_of(question) == "done", "the end")
            else:
                assert said["result"]["isError"] is True
                assert server.received == []
                await within(lambda: state_of(question) == "rejected", "the end")

    test()
