"""Killed at any instruction: nothing is lost, nothing is sent twice, nobody is asked twice."""

import random
import shutil
import sys
from pathlib import Path

import pytest

from tests.harness.kill import syscalls
from tests.harness.kill.trials import Tally, after, at, chosen, instructions, seconds, trial


def report(what: str, tally: Tally) -> None:
    print(f"{what}: {tally}", file=sys.stderr)


def at_instructions(folder: Path, count: int, deaths: int = 1) -> Tally:
    tally, total = Tally(), instructions(folder)
    for number, instruction in enumerate(chosen(total, count, seed=count)):
        trial(folder / str(number), at(instruction), tally, deaths)
    report(f"at {count} of {total} instructions of the package", tally)
    return tally


def at_times(folder: Path, deaths: int) -> Tally:
    """As many lives as it takes: how long one lasts depends on who else uses the machine."""
    tally, length = Tally(), seconds(folder)
    die = random.Random(deaths)  # noqa: S311  a choice that can be made again
    for number in range(20 * deaths):
        trial(folder / str(number), after(die.uniform(0, length)), tally)
        if tally.killed == deaths:
            break
    report(f"at {deaths} times within {length:.3f} s", tally)
    return tally


def test_killed_at_chosen_instructions(tmp_path: Path) -> None:
    assert at_instructions(tmp_path, 24).killed >= 20


def test_killed_at_random_times(tmp_path: Path) -> None:
    assert at_times(tmp_path, 6).killed == 6


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_killed_at_very_many_instructions(tmp_path: Path) -> None:
    assert at_instructions(tmp_path, 1000).killed >= 900


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_killed_again_and_again_at_the_same_instruction(tmp_path: Path) -> None:
    assert at_instructions(tmp_path, 150, deaths=3).killed >= 150


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_killed_at_very_many_times(tmp_path: Path) -> None:
    assert at_times(tmp_path, 200).killed == 200


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
@pytest.mark.parametrize("calls", [syscalls.FILES, syscalls.SOCKETS])
def test_killed_at_every_system_call_that_changes_or_tells_anything(
    tmp_path: Path, calls: str
) -> None:
    tally, number = Tally(), 0
    while tally.survived == 0:  # beyond the last one it lives
        number += 1
        trial(tmp_path / str(number), syscalls.at(number, calls), tally)
    report(f"at every one of {calls}", tally)
    assert tally.killed >= 10
