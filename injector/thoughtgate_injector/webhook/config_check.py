"""Runs `thoughtgate-proxy check` on a ConfigMap's files, so that its messages are the sidecar's.

The two packages never import each other: the proxy is asked as a process, with limits, since what
it reads was written by anybody who may write a ConfigMap.
"""

import asyncio
import contextlib
import os
import resource
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from thoughtgate_injector.core import names
from thoughtgate_injector.core.config_map import ConfigFiles

# -I: the files lie in the working folder, where `import` would otherwise look first, and a
# ConfigMap's key may well be `yaml.py`.
COMMAND: Final = (
    sys.executable, "-I", "-B", "-X", "utf8",
    "-m", "thoughtgate_proxy.cli.main", "check", "--apart", "-",
)  # fmt: skip
AT_ONCE: Final = 2
WAITING: Final = 8  # reviews that may wait for their turn; each holds its ConfigMap in memory
LIMIT: Final = 4.0  # seconds, waiting included: less than the webhook's timeout
OUTPUT: Final = 64 * 2**10  # bytes of messages that are read
MEMORY: Final = 64 * 2**20  # bytes of data per process; an ordinary check takes some 15 MiB
_NICE: Final = 10  # reviews of pods come first
_STDIN: Final = "<stdin>"  # the configuration's name in the proxy's messages


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The proxy's verdict: mistakes (none: it would start with this file) and warnings."""

    mistakes: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CheckFailure:
    """The check did not finish; `reason` is one line."""

    reason: str


@dataclass(slots=True)
class ConfigChecker:
    """Runs a few checks at once; a few more wait, and beyond that a file is not checked."""

    command: Sequence[str] = COMMAND
    limit: float = LIMIT
    memory: int = MEMORY
    _slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))
    _waiting: int = 0

    async def check(self, files: ConfigFiles) -> CheckResult | CheckFailure:
        """Check one configuration; whatever happens, an answer comes within the limit."""
        if self._waiting >= WAITING:
            return CheckFailure("too many configurations at once")
        self._waiting += 1
        try:
            async with asyncio.timeout(self.limit):
                async with self._slots:
                    return await self._run(files)
        except TimeoutError:
            return CheckFailure(f"the check took longer than {self.limit:g} s")
        except OSError as error:
            return CheckFailure(f"the check could not be run: {(error.strerror or '').lower()}")
        finally:
            self._waiting -= 1

    async def _run(self, files: ConfigFiles) -> CheckResult | CheckFailure:
        with tempfile.TemporaryDirectory(prefix="check-") as folder:
            _lay_out(Path(folder), files)
            process = await asyncio.create_subprocess_exec(
                *self.command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                cwd=folder,
                env={},
            )
            try:
                self._bound(process.pid)
                _, said = await asyncio.gather(_feed(process, files.config), _read(process))
                code = await process.wait()
            finally:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        return _judged(code, said)

    def _bound(self, pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):  # it may have ended already
            # Before it has been given its input; not by `preexec_fn`, which is unsafe with threads.
            resource.prlimit(pid, resource.RLIMIT_DATA, (self.memory, self.memory))
            os.setpriority(os.PRIO_PROCESS, pid, _NICE)


def _lay_out(folder: Path, files: ConfigFiles) -> None:
    for name, content in files.beside.items():
        (folder / name).write_bytes(content)


async def _feed(process: asyncio.subprocess.Process, config: bytes) -> None:
    stdin = process.stdin
    if stdin is None:
        raise RuntimeError("the process was started without a standard input")
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # its exit code says more
        stdin.write(config)
        await stdin.drain()
        stdin.close()
        await stdin.wait_closed()


async def _read(process: asyncio.subprocess.Process) -> str:
    stderr = process.stderr
    if stderr is None:
        raise RuntimeError("the process was started without a standard error")
    said = bytearray()
    while chunk := await stderr.read(OUTPUT):
        # The excess is read and discarded: a full pipe would block the process.
        said += chunk[: OUTPUT - len(said)]
    return said.decode(errors="replace")


def _judged(code: int, said: str) -> CheckResult | CheckFailure:
    """Source: `thoughtgate-proxy check`: 0 good, 1 refused with one line per mistake."""
    lines = [_named(line.removeprefix("warning: ")) for line in said.splitlines()]
    if code == 0:
        return CheckResult((), tuple(lines))
    mistakes = tuple(line for line in lines if not _is_count(line))
    if code == 1 and mistakes and len(mistakes) < len(lines):
        return CheckResult(mistakes, ())
    if code == 1 and len(said) >= OUTPUT:
        return CheckResult((*mistakes[:-1], "more mistakes follow"), ())
    how = f"signal {-code}" if code < 0 else f"exit code {code}"
    return CheckFailure(f"the check ended with {how}, as one does that needs too much memory")


def _named(line: str) -> str:
    """Replace the name `<stdin>` in a message by the key of the ConfigMap."""
    rest = line.removeprefix(_STDIN)
    return line if rest == line else names.CONFIG_KEY + rest


def _is_count(line: str) -> bool:
    number, _, word = line.partition(" ")
    return number.isdigit() and word in {"mistake", "mistakes"}
