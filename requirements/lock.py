"""`make lock`: resolves every lock anew and prints what changed.

A lock lists all that its installation needs, with hashes, for every platform and Python from 3.11.
What is installed together, or tested together, has the same versions: those of `dev.txt`.
"""

import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent
LEAST_PYTHON = "3.11"
# No lock says where the packages came from: each machine has its own index.
_OPTIONS = (
    "--quiet", "--universal", "--python-version", LEAST_PYTHON, "--generate-hashes", "--no-header",
    "--no-emit-index-url", "--no-emit-find-links", "--no-emit-package", "thoughtgate",
)  # fmt: skip
_PINNED = re.compile(r"^([\w.-]+)==(\S+)", re.MULTILINE)

# Lock -> what it is resolved from. `build` is a part of `dev`: one command installs both.
LEADING = {"dev": ("--extra", "dev", "pyproject.toml", "requirements/build.in")}
FOLLOWING = {
    **{name: ("--extra", name, "pyproject.toml") for name in ("proxy", "injector", "examples")},
    "bench": ("--extra", "bench", "pyproject.toml"),
    "build": ("requirements/build.in",),
}
APART = {
    path.stem: (f"requirements/{path.name}",)
    for path in sorted(HERE.glob("*.in"))
    if path.stem not in FOLLOWING
}


def main() -> int:
    """Replace all locks, or none if one cannot be resolved."""
    with tempfile.TemporaryDirectory() as folder:
        made = dict(_resolved(Path(folder)))
        for name, text in made.items():
            lock = HERE / f"{name}.txt"
            old = lock.read_text() if lock.exists() else ""
            for line in changes(old, text):
                sys.stdout.write(f"{lock.relative_to(ROOT)}: {line}\n")
            lock.write_text(text)
    return 0


def pins(lock: str) -> dict[str, str]:
    """Package -> version of a lock's text; several where it depends on the platform."""
    found: dict[str, str] = {}
    for name, version in _PINNED.findall(lock):
        found[name] = f"{found[name]}, {version}" if name in found else version
    return found


def changes(old: str, new: str) -> list[str]:
    """What is different between two texts of a lock, a line for each package."""
    if not old:
        return [f"new, with {len(pins(new))} packages"]
    before, after = pins(old), pins(new)
    told = [
        f"{name} {before.get(name, 'none')} -> {after.get(name, 'none')}"
        for name in sorted(before | after)
        if before.get(name) != after.get(name)
    ]
    same = "the same versions; hashes, conditions or comments differ"
    return told or ([same] if old != new else [])


def _resolved(folder: Path) -> Iterator[tuple[str, str]]:
    leading = folder / "leading.txt"
    for group, arguments in ((LEADING, ("--upgrade",)), (FOLLOWING, ()), (APART, ("--upgrade",))):
        for name, sources in group.items():
            lock = folder / f"{name}.txt"
            if group is FOLLOWING:
                # An output that is there is preferred to newer versions.
                shutil.copy(leading, lock)
            _compile(lock, *sources, *arguments)
            if group is LEADING:
                shutil.copy(lock, leading)
            yield name, lock.read_text()


def _compile(lock: Path, *arguments: str) -> None:
    uv = Path(sysconfig.get_path("scripts")) / "uv"
    command: list[str | Path] = [uv, "pip", "compile", *_OPTIONS, *arguments, "--output-file", lock]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
