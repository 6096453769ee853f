"""What bodies are charged, and what is left for them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from thoughtgate_proxy.http1.memory import Budget, NoRoom, Share, TooBig, total

MIB = 1 << 20


def test_a_body_is_charged_its_size_thrice_and_its_values() -> None:
    budget = Budget(MIB)
    share = Share(budget)
    share.add(b'[{"a":1},')
    assert budget.taken == 3 * 9 + 100 * 3
    share.add(b"2]")
    assert budget.taken == 3 * 11 + 100 * 3
    share.release()
    share.release()
    assert budget.taken == 0


def test_what_never_fits_is_told_from_what_does_not_fit_now() -> None:
    budget = Budget(1000)
    first, second = Share(budget), Share(budget)
    first.add(b"x" * 200)
    with pytest.raises(NoRoom):
        second.add(b"x" * 200)
    second.release()
    with pytest.raises(TooBig):
        second.add(b"x" * 400)
    second.release()
    assert budget.taken == 600


@given(st.lists(st.lists(st.binary(max_size=40), max_size=5), max_size=8))
def test_nothing_stays_charged(bodies: list[list[bytes]]) -> None:
    budget = Budget(300)
    for pieces in bodies:
        share = Share(budget)
        try:
            for piece in pieces:
                share.add(piece)
        except (TooBig, NoRoom):
            pass
        finally:
            share.release()
    assert budget.taken == 0


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["52428800\n"], (50 * MIB - 30_000 * 1024) // 2),
        ([None, "52428800\n"], (50 * MIB - 30_000 * 1024) // 2),
        (["max\n"], 64 * MIB),
        (["max\n", "52428800\n"], 64 * MIB),
        ([None, "9223372036854771712\n"], 64 * MIB),
        (["1048576\n"], 0),
        ([None, None], 64 * MIB),
        (["nonsense"], 64 * MIB),
    ],
)
def test_half_of_what_the_cgroup_leaves(
    tmp_path: Path, texts: list[str | None], expected: int
) -> None:
    status = tmp_path / "status"
    status.write_text("VmRSS:\t   56000 kB\nRssAnon:\t   30000 kB\nRssFile:\t   26000 kB\n")
    files = []
    for number, text in enumerate(texts):
        files.append(tmp_path / str(number))
        if text is not None:
            files[-1].write_text(text)
    assert total(files, status) == expected
