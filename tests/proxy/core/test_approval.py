"""The documentation has the table that the code has."""

import re
from pathlib import Path

from thoughtgate_proxy.core.approval import TRANSITIONS, Ending, State

PAGE = (Path(__file__).parents[3] / "docs" / "approval-record.md").read_text("utf-8")


def rows(heading: str) -> list[list[str]]:
    """The cells of the table that begins with that row."""
    table = PAGE.partition(f"{heading}\n")[2].partition("\n\n")[0]
    return [
        [cell.strip(" `") for cell in line.strip("|").split("|")] for line in table.splitlines()
    ][1:]


def test_the_states_are_those_of_the_code() -> None:
    written = {(at, step): to for at, step, to in rows("| from | step | to |")}
    assert written == {(at.value, step.value): to.value for (at, step), to in TRANSITIONS.items()}


def test_the_endings_are_those_of_the_code() -> None:
    written = {ending: state for ending, state, _ in rows("| `ending` | state | what happened |")}
    assert set(written) == {ending.value for ending in Ending}
    assert all(State(state).final for state in written.values())


def test_the_metrics_have_their_names() -> None:
    named = re.findall(r"`(thoughtgate_approval\w+)", PAGE)
    assert sorted(set(named)) == [
        "thoughtgate_approval_requests_total",
        "thoughtgate_approval_wait_seconds",
        "thoughtgate_approvals_pending",
    ]
