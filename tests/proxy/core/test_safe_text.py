"""A human sees the call that will be sent, and nothing that deceives."""

import json
import time
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thoughtgate_proxy.core import safe_text
from thoughtgate_proxy.core.protocol import strict_json

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=15,
)
DECEIVING = (
    "\x00\x07\x1b\x7f\x85\x9b\xa0\xad\u034f\u061c\u115f\u1160\u17b4\u180e\u200b\u200c\u200d\u200e"
    "\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2060\u2066\u2067\u2068\u2069\u2800\u3000"
    "\u3164\ufe00\ufe0f\ufeff\uffa0\ufff9\ufffc\U0001d159\U000e0001\U000e0041\U000e0100\ue000\U0010ffff"
)


def show(arguments: str, *redact: str, **others: Any) -> safe_text.SafeText:
    more = "".join(f",{json.dumps(key)}:{json.dumps(value)}" for key, value in others.items())
    body = '{"id":1,"method":"tools/call","params":{"name":"t","arguments":%s%s}}'
    return safe_text.call((body % (arguments, more)).encode(), redact)


@given(VALUES)
def test_what_is_shown_is_the_value_that_will_be_sent(value: Any) -> None:
    seen = show(json.dumps(value))
    assert json.loads(seen.arguments or "null") == value
    assert not seen.redacted


@pytest.mark.parametrize(
    "number", ["9007199254740993", "1E2", "0.1000000000000000055", "-0", "1e-7", "10.50"]
)
def test_a_number_stands_as_the_client_wrote_it(number: str) -> None:
    assert show(number).arguments == number
    assert show(f'{{"n": {number}}}').arguments == f'{{"n": {number}}}'


@pytest.mark.parametrize("character", DECEIVING, ids=lambda c: f"U+{ord(c):04X}")
@pytest.mark.parametrize("form", ['{"key": "a%sb"}', '{"a%sb": 1}', '["%s"]'])
def test_what_cannot_be_seen_or_changes_what_is_seen_is_an_escape(
    form: str, character: str
) -> None:
    for way in (character, json.dumps(character)[1:-1]):
        if character < " " and way is character:
            continue  # JSON allows these as escapes only
        seen = show(form % way).arguments
        assert character not in seen
        assert json.loads(seen) == json.loads(form % json.dumps(character)[1:-1])


@given(st.characters(exclude_categories=["Cs"]))
def test_no_character_breaks_a_line_or_hides(character: str) -> None:
    seen = show(json.dumps([character])).arguments
    assert len(seen.splitlines()) == (1 if seen.isascii() else 3)
    for one in seen.replace("\n", ""):
        assert one == " " or one.isprintable()
        assert unicodedata.bidirectional(one) not in (
            "LRE",
            "RLE",
            "LRO",
            "RLO",
            "PDF",
            "LRI",
            "RLI",
        )


def test_marks_cannot_pile_up_over_other_lines_or_stand_on_what_is_ours() -> None:
    seen = show(json.dumps("a" + "\u0301" * 40)).arguments
    assert seen == '"a' + "\u0301" * 4 + "\\u0301" * 36 + '"'
    assert show('"\u0338x"').arguments == '"\\u0338x"'
    assert show('"\u0917\u094d\u0930\u0940"').arguments == '"\u0917\u094d\u0930\u0940"'


def test_letters_that_run_from_right_to_left_share_their_line_with_nothing() -> None:
    seen = show('{"to": "\u05d0\u05d1", "amount": 5}').arguments
    assert seen.splitlines() == ["{", '  "to": "\u05d0\u05d1",', '  "amount": 5', "}"]


def test_it_is_laid_out_for_reading() -> None:
    call = {"user": "ada", "card": {"number": "4111", "ok": True}, "ids": [1, 2], "none": {}}
    assert show(json.dumps(call)).arguments.splitlines() == [
        "{",
        '  "user": "ada",',
        '  "card": {"number": "4111", "ok": true},',
        '  "ids": [1, 2],',
        '  "none": {}',
        "}",
    ]


CARDS = (
    '{"card": {"number": "41", "name": "a"}, "cards": [{"number": [7]}, {"number": {}}], "x": 1}'
)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("card.number", {"card": {"number": "[redacted]", "name": "a"}}),
        ("card", {"card": "[redacted]"}),
        ("Card.NUMBER", {"card": {"number": "[redacted]", "name": "a"}}),
        ("cards.number", {"cards": [{"number": "[redacted]"}, {"number": "[redacted]"}]}),
        ("cards.1.number", {"cards": [{"number": [7]}, {"number": "[redacted]"}]}),
        ("cards.0", {"cards": ["[redacted]", {"number": {}}]}),
    ],
)
def test_a_redacted_field_is_marked_and_named(path: str, value: dict[str, Any]) -> None:
    seen = show(CARDS, path, "nothing.here", "x.y")
    assert json.loads(seen.arguments) == {**json.loads(CARDS), **value}
    assert seen.redacted == (path,)


def test_a_key_with_dots_meets_the_same_path() -> None:
    assert json.loads(show('{"card.number": 1}', "card.number").arguments) == {
        "card.number": "[redacted]"
    }


def test_no_argument_can_pass_for_a_redaction() -> None:
    seen = show('{"a": "[redacted]", "b": 1}', "b")
    assert seen.arguments == '{"a": "\\u005bredacted]", "b": "[redacted]"}'
    assert json.loads(seen.arguments)["a"] == "[redacted]"


def test_other_params_that_count_are_shown_too() -> None:
    meta = {"progressToken": 1, "com.example/tenant": "other"}
    seen = show("{}", task={"ttl": 60}, _meta=meta)
    assert json.loads(seen.others) == {
        "task": {"ttl": 60},
        "_meta": meta,
    }
    assert show("{}", _meta={}).others == ""


@pytest.mark.parametrize(
    ("answers", "shown"),
    [
        ({"a": {"content": {"pin": 1}, "x": 2}}, {"a": {"content": {"pin": "[redacted]"}, "x": 2}}),
        ({"a": {"pin": 1}, "pin": 2}, {"a": {"pin": "[redacted]"}, "pin": "[redacted]"}),
        ({"a": {"content": {"b": {"pin": 1}}}}, {"a": {"content": {"b": {"pin": 1}}}}),
        ([{"content": {"pin": 1}}], [{"content": {"pin": "[redacted]"}}]),
        (7, 7),
    ],
    ids=["in a response's content", "in a response and above", "deeper", "in a list", "no object"],
)
def test_answers_to_a_server_are_redacted_as_arguments_are(answers: Any, shown: Any) -> None:
    seen = safe_text.responses(json.dumps(answers).encode(), ["pin"])
    assert json.loads(seen.arguments) == shown
    assert seen.redacted == (("pin",) if seen.arguments.count("redacted") else ())
    beside = show("{}", "pin", inputResponses=answers)
    assert json.loads(beside.others) == {"inputResponses": shown}
    assert beside.redacted == seen.redacted


def test_nothing_is_cut_and_the_deepest_takes_no_room_for_blanks() -> None:
    deep = "[" * 120 + "0," * 200_000 + "0" + "]" * 120
    begun = time.perf_counter()
    seen = show(deep).arguments
    assert strict_json.loads(seen.encode()) == strict_json.loads(deep.encode())
    assert len(seen) < 20 * len(deep)
    assert time.perf_counter() - begun < 20


def test_a_plain_text_has_the_same_escapes() -> None:
    assert safe_text.text('say "hi"\nthen \u202e*bold*') == 'say "hi"\\u000athen \\u202e*bold*'
