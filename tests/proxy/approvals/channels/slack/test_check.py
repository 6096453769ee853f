"""`check --online`: what is wrong is told before the first approval meets it."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.slack import CHANNEL, TOKEN, FakeSlack, Fault
from tests.harness.slack.workspace import SCOPES
from thoughtgate_proxy.cli.main import main

CONFIG = """
schema: 1
sources: [{id: up, url: "http://mcp:3000"}]
governance: {defaults: {action: approve}}
approval:
  default: {adapter: slack, channel: "#approvals", %s}
"""
LISTED = "approvers: [U0ALICE]"


@pytest.fixture
def slack() -> Iterator[FakeSlack]:
    """A fake in a thread of its own, as the command has an event loop of its own."""
    loop, fake, stop = asyncio.new_event_loop(), FakeSlack(), asyncio.Event()
    up = threading.Event()

    async def serve() -> None:
        async with fake:
            up.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert up.wait(10)
    yield fake
    loop.call_soon_threadsafe(stop.set)
    thread.join()
    loop.close()


def check(slack: FakeSlack, folder: Path, workflow: str = LISTED, token: str = TOKEN) -> int:
    """The exit code, for a configuration whose workflow says `workflow`."""
    path = folder / "config.yaml"
    path.write_text(CONFIG % workflow)
    environ = {"THOUGHTGATE_SLACK_BOT_TOKEN": token, "THOUGHTGATE_SLACK_API_URL": slack.url}
    return main(["check", "--online", str(path)], environ)


def test_all_well_is_said_with_bot_workspace_and_channel(
    slack: FakeSlack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert check(slack, tmp_path) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "slack:     the token is that of `thoughtgate` (U0BOT) in `Home` (T0HOME)" in out
    assert f"slack:     approval.default.channel: `#approvals` ({CHANNEL})" in out
    assert all(call.method != "chat.postMessage" for call in slack.calls)


@pytest.mark.parametrize(
    ("workflow", "lost", "token", "lines"),
    [
        (LISTED, "", "", ["approval: there is no Slack token: set the key `slack-token`"]),
        (LISTED, "", "xoxb-x", ["approval: Slack refuses the bot's token: Slack does not know it"]),
        (
            "approvers: [a@example.com, S0ONCALL]", "reactions:read users:read.email", TOKEN,
            ["approval.default: the Slack app lacks the scope `reactions:read`",
             "approval.default: the Slack app lacks the scope `users:read.email`"],
        ),
        (LISTED, "channels:read groups:read", TOKEN,
         ["approval.default.channel: the Slack app lacks the scope `channels:read`"]),
        ("approvers: [nobody@example.com]", "", TOKEN,
         ["approval.default.approvers[0]: Slack knows nobody with the address `nobody@example.com`",
          "approval.default.required: 1 must approve, and 0 of those listed can"]),
        ("approvers: [U0ALICE, U0ROBOT, U0GONE, U0NOBODY, S0NOGROUP]", "", TOKEN,
         ["approval.default.approvers[1]: `U0ROBOT` is a bot",
          "approval.default.approvers[2]: `U0GONE` is deactivated",
          "approval.default.approvers[3]: Slack knows no user `U0NOBODY`",
          "approval.default.approvers[4]: Slack knows no user group `S0NOGROUP`"]),
        ("approvers: [S0ONCALL], required: 3", "", TOKEN,
         ["approval.default.required: 3 must approve, and 2 of those listed can"]),
        (f"{LISTED}, mention: [S0NOGROUP, here]", "", TOKEN,
         ["approval.default.mention: Slack knows no user group `S0NOGROUP`"]),
    ],
)  # fmt: skip
def test_each_problem_has_a_line(
    slack: FakeSlack,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    workflow: str,
    lost: str,
    token: str,
    lines: list[str],
) -> None:
    slack.workspace.apps[TOKEN].scopes = SCOPES - set(lost.split())
    assert check(slack, tmp_path, workflow, token) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == len(lines), said
    for line, start in zip(said, lines, strict=True):
        assert line.startswith(f"{tmp_path}/config.yaml: {start}")


@pytest.mark.parametrize(
    ("channel", "words"),
    [
        ("#elsewhere", "Slack channel: the app is not in it: invite the app there with `/invite`"),
        ("C0ELSE", "Slack channel: the app is not in it"),
        ("C0NOWHERE", "Slack channel: Slack knows no such channel"),
    ],
)
def test_a_channel_without_the_app_is_told(
    slack: FakeSlack,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    channel: str,
    words: str,
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text((CONFIG % LISTED).replace("#approvals", channel))
    environ = {"THOUGHTGATE_SLACK_BOT_TOKEN": TOKEN, "THOUGHTGATE_SLACK_API_URL": slack.url}
    assert main(["check", "--online", str(path)], environ) == 1
    assert capsys.readouterr().err.startswith(f"{path}: approval.default.channel: {words}")


def test_what_is_worse_without_a_scope_is_told_and_no_problem(
    slack: FakeSlack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slack.workspace.apps[TOKEN].scopes = SCOPES - {"files:write", "channels:history"}
    assert check(slack, tmp_path) == 0
    out = capsys.readouterr().out
    assert "without the scope `files:write` arguments of more than about 10,000" in out
    assert "without the scope `channels:history` in a public channel" in out


def test_slack_that_is_down_is_told(
    slack: FakeSlack, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slack.faults["*"] = Fault("500", 100)
    assert check(slack, tmp_path) == 1
    assert "Slack answers `auth.test` with status 500" in capsys.readouterr().err


def test_a_wrong_address_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(CONFIG % LISTED)
    assert main(["check", "--online", str(path)], {"THOUGHTGATE_SLACK_API_URL": "slack"}) == 1
    assert capsys.readouterr().err.startswith(
        f"{path}: THOUGHTGATE_SLACK_API_URL: `slack`, allowed is an absolute URL"
    )


def test_without_a_workflow_in_slack_nobody_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text((CONFIG % "").replace('slack, channel: "#approvals", ', "page"))
    assert main(["check", "--online", str(path)], {}) == 0
    assert "no workflow asks there" in capsys.readouterr().out
