"""Runs other programs; a failure shows what they said."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

# Debian's sbin folders are not in everybody's path, under some shells not even in root's.
PATH = f"{os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin"

# What we start dies with the thread that started it, whatever kills us.
BOUND = ("setpriv", "--pdeathsig", "KILL", "--") if shutil.which("setpriv", path=PATH) else ()


class CommandFailedError(Exception):
    """A program ended with an error; the text holds the command and its output."""


class ClusterUnavailableError(Exception):
    """This machine cannot run the cluster; the text says what is missing."""


def run(
    *command: str | Path,
    stdin: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    limit: float | None = 120,
    check: bool = True,
) -> str:
    """The standard output of a program. `env` adds to our environment, `limit` is in seconds."""
    done = subprocess.run(
        [*BOUND, *(str(word) for word in command)],
        input=stdin,
        stdin=subprocess.DEVNULL if stdin is None else None,
        cwd=cwd,
        env={**os.environ, "PATH": PATH, **(env or {})},
        capture_output=True,
        text=True,
        errors="replace",
        timeout=limit,
        check=False,
    )
    if check and done.returncode != 0:
        raise CommandFailedError(failure(command, done.returncode, done.stdout, done.stderr))
    return done.stdout


def failure(command: Sequence[str | Path], code: int, *outputs: str) -> str:
    """One text for a person: the command, its exit code and the end of what it said."""
    said = "\n".join(output.strip()[-4000:] for output in outputs if output.strip())
    return f"`{' '.join(str(word) for word in command)}` ended with {code}:\n{said}"
