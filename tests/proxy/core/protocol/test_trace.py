"""A trace is taken from MCP's own context first, and only if it is one."""

import pytest

from thoughtgate_proxy.core.protocol.trace import traceparent

ONE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
OTHER = "00-11111111111111111111111111111111-2222222222222222-00"


def test_what_stands_in_meta_wins_over_the_header() -> None:
    assert traceparent({"_meta": {"traceparent": ONE}}, OTHER) == ONE
    assert traceparent({"_meta": {}}, OTHER) == OTHER
    assert traceparent({}, OTHER) == OTHER
    assert traceparent({"_meta": None}, None) is None


@pytest.mark.parametrize(
    "bad",
    [
        ONE + "-", ONE + "x" * 1000, ONE[:-1], ONE.upper(), "", "00-aa-bb-01", 7, None, [ONE],
        "ff" + ONE[2:], ONE.replace("0af7651916cd43dd8448eb211c80319c", "0" * 32),
        ONE.replace("b7ad6b7169203331", "0" * 16), ONE + "\n",
    ],
)  # fmt: skip
def test_a_malformed_one_counts_as_absent(bad: object) -> None:
    assert traceparent({"_meta": {"traceparent": bad}}, OTHER) == OTHER
    assert traceparent({}, bad if isinstance(bad, str) else None) is None
