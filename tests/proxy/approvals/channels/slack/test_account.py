"""Whose token speaks to Slack: the mounted file's, read again, or else a variable's."""

import os
from pathlib import Path

import pytest

from thoughtgate_proxy.approvals.channels.channel import ChannelSettings
from thoughtgate_proxy.approvals.channels.slack.account import (
    TOKEN_FILE,
    TOKEN_VARIABLE,
    URL_VARIABLE,
    Account,
)
from thoughtgate_proxy.approvals.channels.slack.errors import NotSetUp


def account(folder: Path, **environ: str) -> Account:
    return Account(ChannelSettings(folder, environ))


def test_the_mounted_file_goes_before_the_variable(tmp_path: Path) -> None:
    (tmp_path / TOKEN_FILE).write_text("  xoxb-file\n")
    assert account(tmp_path, **{TOKEN_VARIABLE: "xoxb-variable"}).token() == "xoxb-file"


def test_without_the_file_the_variable_of_a_sidecar_by_hand_is_read(tmp_path: Path) -> None:
    assert account(tmp_path, **{TOKEN_VARIABLE: " xoxb-variable "}).token() == "xoxb-variable"


def test_a_token_that_the_kubelet_swaps_is_the_new_one_at_once(tmp_path: Path) -> None:
    """A Secret's volume: `slack-token` -> `..data/slack-token`, `..data` -> a folder."""
    for number, text in enumerate(("xoxb-old", "xoxb-new")):
        (tmp_path / f"..{number}").mkdir()
        (tmp_path / f"..{number}" / TOKEN_FILE).write_text(text)
    (tmp_path / "..data").symlink_to("..0")
    (tmp_path / TOKEN_FILE).symlink_to(f"..data/{TOKEN_FILE}")
    mine = account(tmp_path)
    assert mine.token() == "xoxb-old"
    (tmp_path / "..next").symlink_to("..1")
    os.replace(tmp_path / "..next", tmp_path / "..data")  # noqa: PTH105  as the kubelet does
    assert mine.token() == "xoxb-new"


def test_a_file_that_comes_later_is_read(tmp_path: Path) -> None:
    mine = account(tmp_path, **{TOKEN_VARIABLE: "xoxb-variable"})
    assert mine.token() == "xoxb-variable"
    (tmp_path / TOKEN_FILE).write_text("xoxb-file")
    assert mine.token() == "xoxb-file"


@pytest.mark.parametrize("content", ["", "\n"])
def test_an_empty_file_takes_the_token_away_whatever_the_variable_says(
    tmp_path: Path, content: str
) -> None:
    (tmp_path / TOKEN_FILE).write_text(content)
    with pytest.raises(NotSetUp, match="there is no Slack token: set the key `slack-token`"):
        account(tmp_path, **{TOKEN_VARIABLE: "xoxb-variable"}).token()


@pytest.mark.parametrize("content", [b"xoxb a", b"\xff\xfe", "xoxb-é".encode()])
def test_what_no_token_can_be_is_said_and_not_quoted(tmp_path: Path, content: bytes) -> None:
    (tmp_path / TOKEN_FILE).write_bytes(content)
    with pytest.raises(NotSetUp, match="has characters that no token has") as refused:
        account(tmp_path).token()
    assert "xoxb" not in str(refused.value)
    assert str(tmp_path / TOKEN_FILE) in str(refused.value)


def test_a_file_that_cannot_be_read_is_no_reason_to_take_the_variable(tmp_path: Path) -> None:
    (tmp_path / TOKEN_FILE).mkdir()
    with pytest.raises(NotSetUp, match="is a directory"):
        account(tmp_path, **{TOKEN_VARIABLE: "xoxb-variable"}).token()


def test_the_address_is_slacks_own_or_the_variables(tmp_path: Path) -> None:
    assert account(tmp_path).api_url == "https://slack.com/api/"
    assert account(tmp_path).wrong_url() is None
    elsewhere = account(tmp_path, **{URL_VARIABLE: "http://slack:1/api/"})
    assert (elsewhere.api_url, elsewhere.wrong_url()) == ("http://slack:1/api/", None)
    wrong = account(tmp_path, **{URL_VARIABLE: "slack\n"}).wrong_url()
    assert wrong is not None
    assert wrong.startswith("`slack`, allowed is an absolute URL")
