"""The log never waits for its reader, and loses no line of a decision."""

import asyncio
import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from tests.harness.wait import run, within
from thoughtgate_proxy.telemetry.log import Level, Log

NOON = datetime(2026, 11, 23, 12, 0, 0, 7_000, UTC).timestamp()


@pytest.fixture
def pipe() -> Iterator[list[int]]:
    """The two ends of a pipe; one that a test has closed is -1."""
    ends = list(os.pipe())
    yield ends
    for end in ends:
        if end >= 0:
            os.close(end)


def log_to(ends: list[int], level: Level = Level.INFO, limit: int = 1 << 20) -> Log:
    return Log(lambda: NOON, level=level, fd=ends[1], limit=limit)


def test_a_line_is_one_object_with_its_time(pipe: list[int]) -> None:
    log_to(pipe).event("hello\nworld", Level.WARNING, fact=[1, "é\u2028"], other={"a": None})
    text = os.read(pipe[0], 1 << 16)
    assert text.count(b"\n") == 1
    assert json.loads(text) == {
        "time": "2026-11-23T12:00:00.007Z", "level": "warning", "message": "hello\nworld",
        "fact": [1, "é\u2028"], "other": {"a": None},
    }  # fmt: skip


def test_a_level_mutes_events_but_no_decision(pipe: list[int]) -> None:
    log = log_to(pipe, Level.ERROR)
    log.event("muted")
    log.always("told")
    assert json.loads(os.read(pipe[0], 1 << 16))["message"] == "told"


@run
async def stuck_and_drained(ends: list[int]) -> None:
    log, got = log_to(ends), bytearray()
    count = 0
    while not log.stuck:
        log.always("line", number=count, padding="x" * 300)
        count += 1
        await asyncio.sleep(0)
        assert count < 10_000
    os.set_blocking(ends[0], False)

    def drain() -> bool:
        try:
            got.extend(os.read(ends[0], 1 << 20))
        except BlockingIOError:
            return False
        return got.count(b"\n") == count

    await within(drain, "all lines")
    assert not log.stuck
    assert [json.loads(line)["number"] for line in got.splitlines()] == list(range(count))


def test_a_full_pipe_makes_it_stuck_until_it_is_read(pipe: list[int]) -> None:
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 1 << 16)
    stuck_and_drained(pipe)


def test_a_reader_that_is_gone_makes_it_stuck(pipe: list[int]) -> None:
    """Lines that nobody will read are unlogged calls."""
    os.close(pipe[0])
    pipe[0] = -1

    @run
    async def test() -> None:
        log = log_to(pipe, limit=10_000)
        for _ in range(100):
            log.always("line", padding="x" * 100)
            await asyncio.sleep(0)
        assert log.stuck

    test()


def test_what_waits_is_bounded(pipe: list[int]) -> None:
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 4096)

    @run
    async def test() -> None:
        log = log_to(pipe, limit=10_000)
        for _ in range(1000):
            log.always("line", padding="x" * 1000)
        assert 18_000 < len(log._waiting) <= 20_000

    test()


def test_at_the_end_a_slow_reader_gets_the_last_lines(pipe: list[int]) -> None:
    fcntl.fcntl(pipe[1], fcntl.F_SETPIPE_SZ, 4096)
    got = bytearray()

    def read() -> None:
        while piece := os.read(pipe[0], 1000):
            got.extend(piece)

    @run
    async def written() -> None:
        log = log_to(pipe)
        for number in range(100):
            log.always("line", number=number, padding="x" * 1000)
        reader = threading.Thread(target=read)
        reader.start()
        log.flush(60.0)
        os.close(pipe[1])
        pipe[1] = -1
        reader.join()

    written()
    assert [json.loads(line)["number"] for line in got.splitlines()] == list(range(100))


def test_at_the_end_nobody_is_waited_for_who_has_gone(pipe: list[int]) -> None:
    log = log_to(pipe)
    os.close(pipe[0])
    pipe[0] = -1
    log.always("line")
    begun = time.monotonic()
    log.flush(60.0)
    assert time.monotonic() - begun < 30
