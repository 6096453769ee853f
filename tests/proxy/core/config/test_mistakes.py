"""What is refused, and in which words: the corpus of mistakes with their exact lines."""

import re

import pytest

from tests.proxy.core.config.test_reading import CONFIGS, MINIMAL, read
from thoughtgate_proxy.approvals.channels.catalog import CHANNELS
from thoughtgate_proxy.core.config.mistakes import ConfigRefused
from thoughtgate_proxy.runtime.config_loader import load_text

GOOD = MINIMAL.decode()
SOURCES = "schema: 1\ngovernance: {defaults: {action: deny}}\nsources:\n"
RULES = """schema: 1
sources: [{id: a, url: 'http://a'}, {id: b, url: 'http://b', enabled: false}]
approval: {x: {adapter: page, approvers: [anna]}, y: {adapter: page, approvers: [anna]}}
governance:
  defaults: {action: forward}
  rules:
"""


def corpus() -> list[tuple[str, str, str]]:
    """The cases of `files/mistakes.txt`: a sentence, a text, and its lines."""
    cases = []
    for case in (CONFIGS / "mistakes.txt").read_text().split("=== ")[1:]:
        head, lines = case.split("--> refused with\n")
        sentence, text = head.split("\n", 1)
        cases.append((sentence, text, lines.rstrip("\n")))
    return cases


def refusal(text: str) -> str:
    with pytest.raises(ConfigRefused) as refused:
        load_text(
            text.encode(), "c", CONFIGS, {"BAD": "secret\nX: y", "A": "a", "EMPTY": ""}, CHANNELS
        )
    return str(refused.value)


@pytest.mark.parametrize(
    ("text", "lines"), [case[1:] for case in corpus()], ids=[case[0] for case in corpus()]
)
def test_a_mistake_is_said_with_its_place_what_was_found_and_what_is_allowed(
    text: str, lines: str
) -> None:
    assert refusal(text) == lines


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "c: the file is empty; it starts with `schema: 1`"),
        (GOOD + "a: \x00\n", "c:4:4: the control character `\\x00` is not allowed"),
        (GOOD + "a: \x1b[2J\n", "c:4:4: the control character `\\x1b` is not allowed"),
        (
            GOOD + "audit: " + "[" * 900,
            f"c:4:40: audit{'[0]' * 32}: nested deeper than 32 levels",
        ),
    ],
)
def test_a_text_that_is_no_text_is_refused_where_it_goes_wrong(text: str, line: str) -> None:
    assert refusal(text) == line


def test_a_text_of_any_depth_is_refused_on_its_line() -> None:
    """From 1000 levels on some versions of libyaml refuse by themselves, in their own words."""
    line = refusal(GOOD + "audit: " + "[" * 100_000)
    assert re.fullmatch(r"c:4:\d+: .*nest(ed|ing).*", line)


def test_bytes_that_are_not_utf_8_are_placed() -> None:
    with pytest.raises(ConfigRefused) as refused:
        read(MINIMAL + b"a: \xff\n")
    assert str(refused.value) == "config.yaml:4:4: byte `0xff` is not UTF-8"


def test_a_file_of_another_size_class_is_refused_unread() -> None:
    with pytest.raises(ConfigRefused, match="1048577 bytes; a configuration has at most 1048576"):
        read(b"#" * ((1 << 20) + 1))


def test_values_without_end_are_refused_at_the_bound() -> None:
    with pytest.raises(ConfigRefused, match="more than 100000 values"):
        read(GOOD + "x: [" + "1," * 110_000 + "]\n")


def test_what_was_found_is_cut_where_it_would_fill_the_screen() -> None:
    shown = "x" * 57 + "..."
    assert f": found `{shown}`; allowed: " in refusal(GOOD + f"audit: {{arguments: {'x' * 61}}}")


def test_a_number_of_thousands_of_digits_is_only_too_large() -> None:
    assert "; allowed: a whole number from 1048576" in refusal(
        GOOD + f"limits: {{memory_bytes: {'9' * 5000}}}"
    )


def test_a_files_own_name_forges_no_line() -> None:
    with pytest.raises(ConfigRefused) as refused:
        load_text(b"", "a\nb", CONFIGS, {}, CHANNELS)
    assert str(refused.value).startswith("a\\nb: the file is empty")


def test_a_variables_value_never_shows_in_a_mistake() -> None:
    with pytest.raises(ConfigRefused) as refused:
        read(GOOD.replace("http://a", "${URL}"), URL="http://user:secret@host/")
    assert "found `${URL}`" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_variables_value_adds_no_keys() -> None:
    text = GOOD.replace("'http://a'", "'http://a', description: '${D}'")
    assert read(text, D="x'\n  enabled: false").config.sources[0].description.endswith("false")


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (RULES + "    - {match: '*', action: deny}\n    - {match: a, action: deny}\n", "7"),
        (GOOD.replace("}}", "}, mode: observe}"), "governance.mode: `observe` refuses no call"),
        (GOOD.replace("}}", "}, freeze: true}"), "governance.freeze: every gated call is denied"),
        (RULES + "    - {match: a, action: deny, source: b}\n", "the source `b` is not enabled"),
        (GOOD.replace("'}", "', headers: {Authorization: x}}"), "looks like a secret in plain"),
        (GOOD + "approval: {a: {adapter: page}}\n", "no `approvers`: anyone with a token may"),
        (GOOD + "cedar: {policies: transfer.cedar}\n", "cedar: never asked: no rule and no"),
    ],
)
def test_what_is_allowed_but_unwise_is_a_warning(text: str, warning: str) -> None:
    assert any(warning in str(found) for found in read(text).warnings)


def test_a_hidden_rule_is_named_with_the_one_that_hides_it() -> None:
    text = RULES + (
        "    - {match: a, action: deny, kind: tool}\n"
        "    - {match: a, action: forward}\n"
        "    - {match: a, action: forward, kind: tool}\n"
        "    - {match: a, action: forward, kind: prompt}\n"
        "    - {match: c, action: deny, source: a}\n"
        "    - {match: c, action: forward}\n"
    )
    hidden = "never reached: governance.rules[{}] matches all of it first"
    assert [str(warning) for warning in read(text).warnings] == [
        f"config.yaml:9:7: governance.rules[2]: {hidden.format(0)}",
        f"config.yaml:10:7: governance.rules[3]: {hidden.format(1)}",
    ]


def test_a_header_from_a_variable_is_no_plain_secret() -> None:
    text = GOOD.replace("'}", "', headers: {Authorization: 'Bearer ${T}'}}")
    assert read(text, T="x").warnings == ()
