"""Equal lines are counted, and summed up once a second."""

import asyncio
import json
import os
from typing import Any

from tests.harness.wait import run, within
from thoughtgate_proxy.telemetry.log import Log
from thoughtgate_proxy.telemetry.repeated_lines import RepeatedLines


class Written:
    """A log into a pipe."""

    def __init__(self) -> None:
        self._read, fd = os.pipe()
        os.set_blocking(self._read, False)
        self.log = Log(lambda: 0.0, fd=fd)
        self._data = b""

    def lines(self) -> list[dict[str, Any]]:
        try:
            while piece := os.read(self._read, 1 << 16):
                self._data += piece
        except BlockingIOError:
            pass
        return [json.loads(line) for line in self._data.split(b"\n")[:-1]]


@run
async def test_the_first_line_is_written_at_once_and_the_rest_as_a_number() -> None:
    written = Written()
    lines = RepeatedLines(written.log, "refused")
    for _ in range(1000):
        lines.add("a", reason="bad")
    lines.add("b", reason="worse")
    await within(lambda: len(written.lines()) == 2, "the first of each")
    await within(lambda: len(written.lines()) == 3, "the sum")
    assert written.lines()[2]["times"] == 999
    lines.add("a", reason="bad")
    await asyncio.sleep(0.01)
    assert len(written.lines()) == 3, "it goes on, so it is counted"
    lines.sum_up()
    await within(lambda: len(written.lines()) == 4, "the rest")
    assert written.lines()[3]["times"] == 1


@run
async def test_many_different_lines_are_one_and_none_is_long() -> None:
    written = Written()
    lines = RepeatedLines(written.log, "refused")
    for number in range(1000):
        lines.add(number, reason=f"{number}" + "\x01" * 100_000)
    lines.sum_up()
    await within(lambda: len(written.lines()) == 65, "the lines")
    assert written.lines()[-1]["times"] == 1000 - 64
    assert max(len(json.dumps(line)) for line in written.lines()) <= 2048
