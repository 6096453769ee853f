"""A full or read-only disk refuses new approvals in words, and harms nothing else."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.harness import disks

FULL = "the disk, or the store's share of it, is full"


def _may_mount() -> bool:
    return subprocess.run(["unshare", "--mount", "true"], check=False).returncode == 0


def tried(folder: Path, trial: str) -> dict[str, Any]:
    command = ["unshare", "--mount", sys.executable, "-m", disks.__name__, str(folder), trial]
    ran = subprocess.run(command, check=True, capture_output=True, timeout=60)
    seen: dict[str, Any] = json.loads(ran.stdout)
    return seen


pytestmark = pytest.mark.skipif(not _may_mount(), reason="needs the right to mount")


def test_a_disk_that_fills_up_sends_nothing_unwritten_and_loses_nothing(tmp_path: Path) -> None:
    seen = tried(tmp_path, "fills up")
    assert FULL in seen["new"]
    assert seen["new"].startswith("store: no human was asked")
    state, why, sent = seen["dispatch"]
    assert (state, sent) == ("approved", 0)
    assert FULL in why
    assert FULL in seen["vote"]
    assert FULL in seen["trouble"]
    # Room again: all that stood before still counts.
    assert (seen["dispatch after"], seen["vote after"], seen["sent"]) == ("done", "approved", 1)
    assert (seen["new after"], seen["trouble after"]) == ("pending", None)


@pytest.mark.parametrize(("trial", "why"), [("is full", FULL), ("is read-only", "Read-only")])
def test_what_is_pending_on_a_bad_disk_is_there_when_it_is_mended(
    tmp_path: Path, trial: str, why: str
) -> None:
    seen = tried(tmp_path, trial)
    assert seen["new"].startswith("store: no")
    assert why in seen["new"]
    assert why in seen["trouble"]
    assert (seen["joined"], seen["new after"], seen["trouble after"]) == (True, "pending", None)
