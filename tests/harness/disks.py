"""Approvals on a disk that is full or read-only, or fills up while it works.

Run in a mount namespace of its own (`unshare --mount`), with a folder and one of `TRIALS`: the disk
is made there, and gone with the process. Prints one JSON object with what was seen.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from tests.harness.approval_service import Carrier, World, a_call
from tests.harness.wait import LIMIT
from thoughtgate_proxy.approvals.service import OpenRefused
from thoughtgate_proxy.approvals.store.errors import StoreUnavailable
from thoughtgate_proxy.core.approval import VoteValue

_BALLAST = "ballast"


def _fill(folder: Path) -> None:
    with contextlib.suppress(OSError), (folder / _BALLAST).open("ab", buffering=0) as file:
        while True:
            file.write(b"x" * 512)


def _spoil(folder: Path, how: str) -> None:
    if how == "full":
        _fill(folder)
    else:
        subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


def _mend(folder: Path, how: str) -> None:
    if how == "full":
        (folder / _BALLAST).unlink()
    else:
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)


async def _refusal(w: World, **arguments: Any) -> str:
    try:
        return (await w.open(a_call(**arguments))).state.value
    except OpenRefused as refused:
        return f"{refused.kind}: {refused.reason}"


async def _fills_up(folder: Path) -> dict[str, Any]:
    """It fills up while one is pending and one is approved."""
    seen: dict[str, Any] = {}
    w = World(folder)
    await w.start()
    given, pending = await w.open(a_call(n=1)), await w.open(a_call(n=2))
    await w.asked(2)
    await w.page.say(given.id, VoteValue.APPROVE)
    _fill(folder)
    seen["new"] = await _refusal(w, big="x" * 100_000)
    carrier = Carrier()
    outcome = await w.dispatch(given.id, "", carrier)
    seen["dispatch"] = (outcome.approval.state.value, outcome.not_sent, len(carrier.permits))
    try:
        await w.page.say(pending.id, VoteValue.APPROVE)
        seen["vote"] = "taken"
    except StoreUnavailable as error:
        seen["vote"] = str(error)
    seen["trouble"] = w.service.trouble
    await asyncio.sleep(0.05)
    (folder / _BALLAST).unlink()
    seen["dispatch after"] = (await w.dispatch(given.id, "", carrier)).approval.state.value
    seen["vote after"] = (await w.page.say(pending.id, VoteValue.APPROVE)).state.value
    seen["new after"] = await _refusal(w, n=3)
    seen["trouble after"] = w.service.trouble
    seen["sent"] = len(carrier.permits)
    await w.stop()
    w.close()
    return seen


async def _from_the_start(folder: Path, how: str) -> dict[str, Any]:
    """It was wrong before the process began, and is mended later."""
    seen: dict[str, Any] = {}
    before = World(folder)
    await before.start()
    pending = await before.open(a_call(n=1))
    await before.asked()
    await before.stop()
    before.close()
    _spoil(folder, how)
    w = World(folder, before.clock)
    await w.start()
    seen["new"] = await _refusal(w, big="x" * 100_000)
    seen["trouble"] = w.service.trouble
    _mend(folder, how)
    async with asyncio.timeout(LIMIT):  # it looks again once a second
        while await _refusal(w, n=1) != "pending":  # noqa: ASYNC110  a disk has no event
            await asyncio.sleep(0.05)
    seen["joined"] = (await w.open(a_call(n=1))).id == pending.id
    seen["new after"] = await _refusal(w, n=2)
    seen["trouble after"] = w.service.trouble
    await w.stop()
    w.close()
    return seen


TRIALS: dict[str, Callable[[Path], Coroutine[Any, Any, dict[str, Any]]]] = {
    "fills up": _fills_up,
    "is full": lambda folder: _from_the_start(folder, "full"),
    "is read-only": lambda folder: _from_the_start(folder, "readonly"),
}


def main() -> None:
    """The folder, and the name of the trial."""
    folder = Path(sys.argv[1])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "none", str(folder)], check=True)
    print(json.dumps(asyncio.run(TRIALS[sys.argv[2]](folder))))


if __name__ == "__main__":
    main()
