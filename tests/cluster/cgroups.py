"""The cgroup above all pods of a run: in every hierarchy of version 1, or in version 2's one."""

import time
from pathlib import Path

from tests.cluster.commands import CommandFailedError
from tests.cluster.processes import kill

ROOT = Path("/sys/fs/cgroup")


def make(name: str) -> None:
    """The kubelet wants its root to exist in every hierarchy."""
    if (ROOT / "cgroup.controllers").exists():  # version 2
        wanted = "+cpu +cpuset +memory +pids"
        (ROOT / "cgroup.subtree_control").write_text(wanted)
        (ROOT / name).mkdir()
        (ROOT / name / "cgroup.subtree_control").write_text(wanted)
        return
    for hierarchy in ROOT.iterdir():
        # `cpu` and the like may be links to one `cpu,cpuacct`
        if hierarchy.is_dir() and not hierarchy.is_symlink() and (hierarchy / "tasks").exists():
            (hierarchy / name).mkdir(exist_ok=True)


def existing(name: str) -> list[Path]:
    """Where the cgroup exists."""
    return [path for path in [ROOT / name, *ROOT.glob(f"*/{name}")] if path.is_dir()]


def remove(name: str, limit: float = 15) -> None:
    """Ends every process in it and removes it."""
    deadline = time.monotonic() + limit
    while groups := existing(name):
        for group in groups:
            for file in group.rglob("cgroup.procs"):
                kill(_members(file))
            # children first; one with processes in it cannot be removed yet
            for folder in sorted(group.rglob("*/"), key=lambda f: -len(f.parts)):
                _try_to_remove(folder)
            _try_to_remove(group)
        if existing(name):
            if time.monotonic() > deadline:
                raise CommandFailedError(f"cgroup `{name}` cannot be removed within {limit} s")
            time.sleep(0.02)


def _members(file: Path) -> list[int]:
    try:
        return [int(line) for line in file.read_text().split()]
    except OSError:
        return []


def _try_to_remove(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        return
