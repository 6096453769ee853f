"""An approval counts for one exact call of one caller."""

import json
import random
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from thoughtgate_proxy.core.policy import call_digest
from thoughtgate_proxy.core.protocol import strict_json

WHO = {"principal": "team/app", "source": "upstream", "target": "/mcp", "credential": "0f"}
CALL = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"t","arguments":%s}}'
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


def digest(params: str | dict[str, Any], **who: Any) -> str:
    if isinstance(params, dict):
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    else:
        body = CALL % params
    return call_digest.digest(body=body.encode(), **{**WHO, **who})


def shuffled(value: Any, order: random.Random) -> Any:
    """The same value with the keys of each object in another order."""
    if isinstance(value, dict):
        keys = list(value)
        order.shuffle(keys)
        return {key: shuffled(value[key], order) for key in keys}
    return [shuffled(one, order) for one in value] if isinstance(value, list) else value


@given(VALUES, st.randoms(use_true_random=False), st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_white_space_order_of_keys_and_escapes_do_not_matter(
    value: Any, order: random.Random, escaped: bool, indent: Any
) -> None:
    other = json.dumps(shuffled(value, order), ensure_ascii=escaped, indent=indent)
    assert digest(json.dumps(value)) == digest(other)


@given(VALUES, VALUES)
def test_any_other_value_is_another_call(one: Any, two: Any) -> None:
    # Python takes True for 1; JSON does not.
    assume(json.dumps(one, sort_keys=True) != json.dumps(two, sort_keys=True))
    assert digest(json.dumps(one)) != digest(json.dumps(two))


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("9007199254740993", "9007199254740992"),
        ("1", "1.0"), ("1", "1e0"), ("1.0", "1e0"), ("1e0", "1E0"), ("0", "-0"),
        ("0.1", "0.1000000000000000055"),
        ("1", '"1"'), ("null", '"null"'), ("[]", "{}"), ("[1,2]", "[2,1]"), ('{"a":null}', "{}"),
        ('"\u00e9"', '"e\u0301"'),
    ],
)  # fmt: skip
def test_values_that_some_reader_takes_for_the_same_are_two_calls(one: str, two: str) -> None:
    assert digest(one) != digest(two)


@given(st.decimals(allow_nan=False, allow_infinity=False, places=5, min_value=-1e9, max_value=1e9))
def test_each_spelling_of_a_number_is_its_own(number: Decimal) -> None:
    assert digest(str(number)) == digest(f" {number} ")
    assert digest(str(number)) != digest(f"{number}0")


@pytest.mark.parametrize("field", list(WHO))
def test_the_caller_the_server_and_the_place_are_bound(field: str) -> None:
    assert digest("{}") != digest("{}", **{field: "other"})


def test_no_credential_differs_from_an_empty_one() -> None:
    assert call_digest.credential(None) == ""
    assert (
        len({call_digest.credential(None), call_digest.credential(""), call_digest.credential("x")})
        == 3
    )


def test_the_method_is_bound() -> None:
    bodies = [CALL % "{}", (CALL % "{}").replace("tools/call", "prompts/get")]
    assert len({call_digest.digest(body=body.encode(), **WHO) for body in bodies}) == 2


@given(TEXT, TEXT, TEXT)
def test_nothing_can_be_moved_from_one_field_to_the_next(a: str, b: str, c: str) -> None:
    assume(b)
    assert digest("{}", principal=a + b, source=c) != digest("{}", principal=a, source=b + c)


META = {
    "progressToken": 7,
    "traceparent": "00-1-2-01",
    "io.modelcontextprotocol/clientInfo": {"name": "x", "version": "1"},
    "claudecode/toolUseId": "toolu_1",
    "vscode.requestId": "r1",
}


@pytest.mark.parametrize("key", list(META))
def test_meta_which_clients_write_anew_at_each_try_is_not_bound(key: str) -> None:
    plain: dict[str, Any] = {"name": "t"}
    meta = {**plain, "_meta": {key: META[key]}}
    assert digest(plain) == digest(meta) == digest({**plain, "_meta": {}})
    assert digest(plain, bind_meta=("other",)) == digest(meta, bind_meta=("other",))


@pytest.mark.parametrize("key", list(META))
def test_meta_that_a_workflow_lists_is_bound_by_value(key: str) -> None:
    params: list[dict[str, Any]] = [{"name": "t"}]
    params += [{"name": "t", "_meta": {key: v}} for v in (META[key], None, "x")]
    assert len({digest(one, bind_meta=(key,)) for one in params}) == len(params)


def test_all_but_the_carriers_own_meta_is_what_was_approved() -> None:
    def seen(**meta: Any) -> bytes:
        params = {"name": "t", **({"_meta": meta} if meta else {})}
        return call_digest.without_carrier_meta(
            json.dumps({"method": "m", "params": params}).encode()
        )

    assert seen(progressToken=1) == seen(traceparent="x") == seen()
    assert seen(**{"io.modelcontextprotocol/protocolVersion": "2026-07-28"}) == seen()
    assert (
        len({seen(), seen(a=1), seen(a=2), seen(**{"io.modelcontextprotocol/related-task": 1})})
        == 4
    )


@pytest.mark.parametrize(
    "more",
    [
        {"task": {"ttl": 1}},
        {"inputResponses": {"a": 1}},
        {"requestState": "the server's own"},
        # Only `_meta` has a meaning for these.
        {"progressToken": 1},
        {"clientInfo": {}},
    ],
)
def test_all_other_params_are_bound(more: dict[str, Any]) -> None:
    assert digest({"name": "t"}) != digest({"name": "t", **more})


def test_a_state_of_our_own_is_not_bound() -> None:
    state = f"{call_digest.OUR_STATE}e30.00"
    assert digest({"name": "t"}) == digest({"name": "t", "requestState": state})


def test_the_id_of_the_request_is_not_bound() -> None:
    body = CALL % "{}"
    other = body.replace('"id":1', '"id":"two"')
    assert call_digest.digest(body=body.encode(), **WHO) == call_digest.digest(
        body=other.encode(), **WHO
    )


@pytest.mark.parametrize("body", [b"[]", b'"x"', b"{}", b'{"method":1}'])
def test_what_is_no_request_has_no_digest(body: bytes) -> None:
    with pytest.raises(ValueError, match="no JSON-RPC request"):
        call_digest.digest(body=body, **WHO)


def test_two_keys_of_one_name_have_no_digest() -> None:
    with pytest.raises(strict_json.UnreadableJSON):
        digest('{"a":1,"a":2}')
