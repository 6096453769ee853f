"""Programs of the tests: servers for as long as they are needed, and others to their end."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.harness.wait import soon

START_SECONDS = 60.0
STOP_SECONDS = 60.0
_LISTENS = re.compile(rb"listening on port (\d+)")


def free_port() -> int:
    """A port that nobody listens on just now, for a server that cannot choose one itself."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@asynccontextmanager
async def serving(
    command: Sequence[str], env: Mapping[str, str] | None = None
) -> AsyncIterator[str]:
    """A server that says on standard error which port it listens on; gives its origin."""
    process = await asyncio.create_subprocess_exec(
        *command, env=env, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said: list[bytes] = []
    port = asyncio.get_running_loop().create_future()

    async def read() -> None:
        assert process.stderr is not None
        while line := await process.stderr.readline():
            said.append(line)
            if (found := _LISTENS.search(line)) and not port.done():
                port.set_result(int(found[1]))
        if not port.done():
            port.set_exception(AssertionError(f"{command}: {b''.join(said).decode()}"))

    reading = asyncio.create_task(read())
    try:
        yield f"http://127.0.0.1:{await soon(port, f'{command} to listen', START_SECONDS)}"
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_SECONDS)
        except TimeoutError:
            process.kill()
            await process.wait()
        await reading


@dataclass(frozen=True)
class Ended:
    """A program that has run to its end."""

    code: int
    output: str
    errors: str


async def ran(
    command: Sequence[str], env: Mapping[str, str] | None, given: str, seconds: float
) -> Ended:
    """Run a program with `given` on its standard input."""
    process = await asyncio.create_subprocess_exec(
        *command, env=env, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        output, errors = await soon(
            process.communicate(given.encode()), f"the end of {command}", seconds
        )
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return Ended(process.returncode, output.decode(), errors.decode())
