"""Installs a lock into an environment of its own: the only place where Python code installs."""

import hashlib
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
LIMIT_SECONDS = 900


class InstallFailedError(Exception):
    """The text holds the command that failed and what it said."""


def lock(name: str) -> Path:
    """The file of a lock."""
    return HERE / f"{name}.txt"


def key(name: str) -> str:
    """12 hex digits for the content of a lock."""
    return hashlib.sha256(lock(name).read_bytes()).hexdigest()[:12]


def python_of(folder: Path) -> Path:
    """The interpreter of the environment in `folder`."""
    return folder / "bin" / "python"


def make(folder: Path, name: str) -> None:
    """An environment in `folder` with exactly what the lock lists. Raises `InstallFailedError`."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    pip_there = [*pip, "--python", str(python_of(folder))]
    for command in (
        [sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)],
        [*pip_there, "install", "-q", "--no-deps", "--require-hashes", "-r", str(lock(name))],
        [*pip_there, "check"],
    ):
        try:
            subprocess.run(
                command, check=True, capture_output=True, text=True, timeout=LIMIT_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise InstallFailedError(str(error)) from error
        except subprocess.CalledProcessError as error:
            told = f"{error}\n{error.stdout}{error.stderr}"
            raise InstallFailedError(told) from error
