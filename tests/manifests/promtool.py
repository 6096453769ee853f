"""Prometheus's own checker of rules, out of Debian's package: nothing is installed."""

import shutil
import subprocess
from pathlib import Path

from tests.cluster import cache

_KEY = "debian-12"


class PromtoolMissingError(Exception):
    """It is not on the path, and Debian's package cannot be had; one line says why."""


def promtool() -> Path:
    """The program. Raises `PromtoolMissingError`."""
    found = shutil.which("promtool")
    return Path(found) if found else cache.made("promtool", _KEY, _unpack)


def _unpack(where: Path) -> None:
    folder = where.parent
    with cache.lock("apt"):  # of two updates at once, one fails
        _run(["apt-get", "update", "-q"], folder)
        _run(["apt-get", "download", "-q", "prometheus"], folder)
    [package] = folder.glob("prometheus_*.deb")
    _run(["dpkg-deb", "-x", package.name, "unpacked"], folder)
    (folder / "unpacked" / "usr" / "bin" / "promtool").rename(where)


def _run(command: list[str], folder: Path) -> None:
    try:
        subprocess.run(command, cwd=folder, capture_output=True, timeout=300, check=True)
    except FileNotFoundError as error:
        raise PromtoolMissingError(f"neither promtool nor `{command[0]}` is here") from error
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        said = (error.stderr or b"").decode(errors="replace").strip()
        raise PromtoolMissingError(f"`{' '.join(command)}` failed: {said}") from error
