"""Who has a token for the page: what the file may say, and what it says later."""

import os
from pathlib import Path

import pytest

from tests.harness.page_server import ANNA, BEN
from thoughtgate_proxy.approvals.channels.page.tokens import Approvers, Reading, parse, read


def names(reading: Reading) -> list[str]:
    """Whose lines are good."""
    return [approver.name for approver in reading.approvers]


def test_lines_of_a_name_and_a_token_are_read() -> None:
    reading = parse(f"# comment\n\nanna:{ANNA}\r\n  ben : {BEN} \n")
    assert names(reading) == ["anna", "ben"]
    assert reading.mistakes == ()


def test_a_token_may_hold_colons() -> None:
    assert names(parse(f"anna:{ANNA}:x:y")) == ["anna"]


def test_a_name_may_have_two_tokens_while_one_is_replaced() -> None:
    assert names(parse(f"anna:{ANNA}\nanna:{BEN}")) == ["anna", "anna"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("anna", "not `name:token`"),
        (":" + ANNA, "not `name:token`"),
        ("anna:", "not `name:token`"),
        ("an na:" + ANNA, "not `name:token`"),
        ("anna:short", "the token has 5 characters"),
        ("anna:" + "ab" * 20, "2 of them different"),
        ("anna:" + "x1y2z3w4" * 30, "the token has 240 characters"),
        ("anna:schlüssel-schlüssel-1", "visible ASCII"),
        ("anna:two words and one more", "visible ASCII"),
    ],
)
def test_a_bad_line_is_told_by_its_number_and_never_quoted(line: str, words: str) -> None:
    reading = parse(f"ben:{BEN}\n{line}\n")
    assert names(reading) == ["ben"]
    (mistake,) = reading.mistakes
    assert mistake.startswith("line 2: ")
    assert words in mistake
    secret = line.partition(":")[2] or line
    assert len(secret) < 6 or secret not in mistake


def test_one_token_of_two_names_is_nobodys() -> None:
    reading = parse(f"anna:{ANNA}\nben:{BEN}\nann:{ANNA}\nana:{ANNA}\n")
    assert names(reading) == ["ben"]
    assert [mistake[:7] for mistake in reading.mistakes] == ["line 3:", "line 4:"]
    assert "line 1" in reading.mistakes[0]


def test_a_name_in_other_case_would_count_twice_and_is_refused() -> None:
    reading = parse(f"anna:{ANNA}\nAnna:{BEN}\n")
    assert names(reading) == ["anna"]
    assert "line 1 in other letters' case" in reading.mistakes[0]


def test_an_empty_file_is_a_mistake() -> None:
    assert parse("# nobody\n").mistakes == ("no line `name:token` in it",)


@pytest.mark.parametrize(
    ("content", "words"), [(b"\xff", "not UTF-8"), (b"#" * (1 << 17), "more than 65536 bytes")]
)
def test_a_file_that_is_no_text_is_a_mistake(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "t").write_bytes(content)
    assert read(tmp_path / "t") == Reading((), (words,))


def test_a_missing_file_and_a_folder_are_mistakes(tmp_path: Path) -> None:
    assert read(tmp_path / "none").mistakes == ("no such file or directory",)
    assert read(tmp_path).mistakes == ("is a directory",)


def test_only_the_whole_token_names_somebody(tmp_path: Path) -> None:
    (tmp_path / "t").write_text(f"anna:{ANNA}")
    approvers = Approvers(tmp_path / "t", lambda _: None)
    found = approvers.named(ANNA)
    assert found is not None
    assert found.name == "anna"
    for wrong in ("", ANNA[:-1], ANNA + "x", ANNA.upper(), "anna", "\udc80"):
        assert approvers.named(wrong) is None


def test_the_file_is_read_again_when_the_kubelet_swaps_it(tmp_path: Path) -> None:
    """A Secret's volume: `approver-tokens` -> `..data/approver-tokens`, `..data` -> a folder."""
    for number, text in enumerate((f"anna:{ANNA}", f"ben:{BEN}\nshort:x")):
        (tmp_path / f"..{number}").mkdir()
        (tmp_path / f"..{number}" / "approver-tokens").write_text(text)
    (tmp_path / "..data").symlink_to("..0")
    (tmp_path / "approver-tokens").symlink_to("..data/approver-tokens")
    told: list[Reading] = []
    approvers = Approvers(tmp_path / "approver-tokens", told.append)
    anna = approvers.named(ANNA)
    assert anna is not None
    assert approvers.stands(anna)
    (tmp_path / "..new").symlink_to("..1")
    os.replace(tmp_path / "..new", tmp_path / "..data")  # noqa: PTH105  as the kubelet does
    assert approvers.named(ANNA) is None
    assert not approvers.stands(anna)
    assert approvers.names == {"ben"}
    assert [len(reading.mistakes) for reading in told] == [1]


def test_without_its_file_nobody_has_a_token(tmp_path: Path) -> None:
    (tmp_path / "t").write_text(f"anna:{ANNA}")
    approvers = Approvers(tmp_path / "t", lambda _: None)
    (tmp_path / "t").unlink()
    assert approvers.named(ANNA) is None
    assert approvers.names == frozenset()


@pytest.mark.parametrize(
    ("least", "less"),
    [
        ("abcdefgh" + "a" * 12, "abcdefgh" + "a" * 11),
        ("abcdefgh" + "a" * 192, "abcdefgh" + "a" * 193),
        ("abcdefgh" * 3, "abcdefga" * 3),
    ],
    ids=["shortest", "longest", "variety"],
)
def test_a_token_at_a_bound_counts_and_one_beyond_it_does_not(least: str, less: str) -> None:
    assert names(parse(f"anna:{least}")) == ["anna"]
    assert names(parse(f"anna:{less}")) == []
