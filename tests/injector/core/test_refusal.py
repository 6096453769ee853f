"""How input is shown in a refusal."""

import pytest

from thoughtgate_injector.core.refusal import Refusal, listed, refused, shown


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (None, "`null`"),
        (True, "`true`"),
        (False, "`false`"),
        (1, "`1`"),
        ("", "``"),
        ("a`b", "`a'b`"),
        ("a\nb", "`a\\nb`"),
        ("x" * 80, f"`{'x' * 80}`"),
        ("x" * 81, f"`{'x' * 79}…`"),
    ],
)
def test_a_value_is_shown_on_one_line_of_bounded_length(value: object, line: str) -> None:
    assert shown(value) == line


def test_values_are_listed_and_reasons_joined() -> None:
    assert listed(["a", "b"]) == "`a`, `b`"
    assert str(Refusal(("one", "two"))) == "one; two"
    assert refused("one") == Refusal(("one",))
    with pytest.raises(ValueError, match="needs a reason"):
        Refusal(())
