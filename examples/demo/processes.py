"""The demo's processes: started, waited for, and ended whatever happens."""

import json
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

START_SECONDS = 60.0
STOP_SECONDS = 30.0


class NotAsTold(Exception):
    """Something went otherwise than the story says."""


@contextmanager
def running(
    command: Sequence[str], log: Path, env: Mapping[str, str], is_up: Callable[[], bool]
) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` with its output in `log`, from when `is_up` says so to the end of the block."""
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=env)
        try:
            wait(is_up, f"`{' '.join(command[-3:])}` to start", lambda: process.poll() is None, log)
            yield process
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def wait(
    condition: Callable[[], Any],
    what: str,
    lives: Callable[[], bool] = lambda: True,
    log: Path | None = None,
) -> None:
    """Wait for `condition`; raises NotAsTold, saying for `what`, after a while or a death."""
    limit = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > limit or not lives():
            said = f":\n{log.read_text()}" if log else ""
            raise NotAsTold(f"waited in vain for {what}{said}")
        time.sleep(0.02)  # the pace of asking, not a wait for luck


def free_port() -> int:
    """A port of loopback that nobody has now, and that the kernel gives nobody unasked.

    Below the range of ephemeral ports: whoever opened a connection could take one of those before
    it is bound.
    """
    for _ in range(100):
        port = secrets.choice(range(20_000, 30_000))
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise NotAsTold("no port between 20000 and 30000 is free")


def listens(port: int) -> bool:
    """Whether somebody accepts connections on the port."""
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def lines(log: Path, message: str) -> list[dict[str, Any]]:
    """The whole JSON lines of a log that have this message."""
    found = []
    for line in log.read_text().splitlines(keepends=True):
        if line.startswith("{") and line.endswith("\n"):
            facts = json.loads(line)
            if facts["message"] == message:
                found.append(facts)
    return found
