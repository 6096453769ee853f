"""What a run found, kept with what it was found on and with."""

import datetime as dt
import os
import platform
import subprocess
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("cedarpy", "httptools", "msgspec", "orjson", "uvloop", "aiohttp")


def write(name: str, title: str, lines: Sequence[str]) -> Path:
    """Write `lines` (Markdown) to results/`name`.md, below the title and the surroundings."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.md"
    path.write_text("\n".join([f"# {title}", "", *surroundings(), "", *lines, ""]))
    return path


def surroundings() -> list[str]:
    """The versions and the machine, in a few lines."""
    versions = ", ".join(f"{package} {version(package)}" for package in _PACKAGES)
    return [
        (
            f"Measured {dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M} UTC at commit {_commit()}, "
            f"Python {platform.python_version()}, {versions}; Linux {platform.release()}, "
            f"{os.cpu_count()} x {_cpu()}. Load, contender and upstream share the machine, so only "
            "ratios within one run mean anything."
        ),
    ]


def _commit() -> str:
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"],  # noqa: S607  the user's own
        cwd=RESULTS.parent, capture_output=True, text=True, check=False, timeout=10,
    )  # fmt: skip
    return found.stdout.strip() or "unknown"


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
