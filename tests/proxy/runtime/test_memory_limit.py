"""How much memory peers may fill, by the cgroup of either version."""

from pathlib import Path

import pytest

from thoughtgate_proxy.runtime.memory_limit import TooLittleMemory, budget_bytes

MIB = 1 << 20
LEFT = 50 * MIB - 50 * MIB // 8 - 5 * MIB - 30_000 * 1024


def found(folder: Path, texts: list[str | None], configured: int | None = None) -> int:
    """The budget where the files of cgroups hold these; None is a file that is not there."""
    status = folder / "status"
    status.write_text("VmRSS:\t   56000 kB\nRssAnon:\t   30000 kB\nRssFile:\t   26000 kB\n")
    files = []
    for number, text in enumerate(texts):
        files.append(folder / str(number))
        if text is not None:
            files[-1].write_text(text)
    return budget_bytes(configured, 0, files, status)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["52428800\n"], LEFT),
        ([None, "52428800\n"], LEFT),
        (["max\n"], 64 * MIB),
        (["max\n", "52428800\n"], 64 * MIB),
        ([None, "9223372036854771712\n"], 64 * MIB),
        ([None, None], 64 * MIB),
        (["nonsense"], 64 * MIB),
    ],
)
def test_it_is_what_the_cgroup_leaves_less_an_eighth(
    tmp_path: Path, texts: list[str | None], expected: int
) -> None:
    assert found(tmp_path, texts) == expected


def test_what_is_configured_is_never_more_than_the_cgroup_leaves(tmp_path: Path) -> None:
    assert found(tmp_path, ["52428800\n"], 4 * MIB) == 4 * MIB
    assert found(tmp_path, ["52428800\n"], 500 * MIB) == LEFT
    assert found(tmp_path, ["max\n"], 500 * MIB) == 500 * MIB


def test_a_container_that_is_too_small_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TooLittleMemory, match="at least 4096 KiB are needed"):
        found(tmp_path, ["37748736\n"])
