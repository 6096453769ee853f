"""The cgroup above all pods of a run: in every hierarchy of version 1, or in version 2's one."""

import time
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.commands import CommandFailedError
from tests.cluster.processes import kill

ROOT = Path("/sys/fs/cgroup")


@dataclass(frozen=True)
class Use:
    """What a container has taken since its start."""

    cpu: float
    """Seconds of a processor."""
    periods: int
    """Spans of the processor's limit in which it ran at all."""
    throttled: int
    """Those of them in which it had to wait."""
    memory_peak: int
    """Bytes, of the page cache too."""


def use(pid: int) -> Use:
    """That of the container which the process is in."""
    if _is_version_2():
        folder = _folder(pid, "")
        stat = _numbers(folder / "cpu.stat")
        cpu, peak = stat["usage_usec"] / 1e6, folder / "memory.peak"
    else:
        stat = _numbers(_folder(pid, "cpu") / "cpu.stat")
        cpu = int((_folder(pid, "cpuacct") / "cpuacct.usage").read_text()) / 1e9
        peak = _folder(pid, "memory") / "memory.max_usage_in_bytes"
    return Use(cpu, stat["nr_periods"], stat["nr_throttled"], int(peak.read_text()))


def _folder(pid: int, controller: str) -> Path:
    """A process's cgroup in the controller's hierarchy; version 2 has one, without a name."""
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return ROOT / controller / path.lstrip("/")
    raise LookupError(f"process {pid} is in no cgroup of `{controller}`")


def _numbers(file: Path) -> dict[str, int]:
    pairs = (line.split() for line in file.read_text().splitlines())
    return {key: int(value) for key, value in pairs}


def _is_version_2() -> bool:
    return (ROOT / "cgroup.controllers").exists()


def make(name: str) -> None:
    """The kubelet wants its root to exist in every hierarchy."""
    if _is_version_2():
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


def remove(name: str, limit: float = 60) -> None:
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
