"""What a run leaves on the machine, and its removal: the same after a good end and after a crash.

INVARIANT: what may have to be undone is written down before it is done.
"""

import json
import shutil
from pathlib import Path

from tests.cluster import cgroups, mounts, network, processes
from tests.cluster.commands import CommandFailedError, run
from tests.cluster.run import Run

# Made by programs that take no other path. Removed only if they were not there before.
FIXED_FOLDERS = [
    "/var/lib/kubelet",  # device plugins
    "/var/lib/cni",  # results, kept by containerd's CNI library
    "/var/log/containers",  # the kubelet's links to logs
    "/var/log/pods",
    "/run/containerd",  # the shims' sockets
    "/usr/libexec/kubernetes",
    "/opt/cni",
    "/run/runc",
]


def begin(the_run: Run) -> None:
    """Notes the machine as it is before anything is changed."""
    records(the_run.folder).mkdir()
    noted = {
        "absent": [path for path in FIXED_FOLDERS if not Path(path).exists()],
        "switches": network.switches(),
        "boot": processes.BOOT.read_text(),
    }
    _notes(the_run.folder).write_text(json.dumps(noted))


def records(folder: Path) -> Path:
    """Where started processes are recorded."""
    return folder / "processes"


def _notes(folder: Path) -> Path:
    return folder / "before.json"


def remove(folder: Path) -> None:
    """Removes every trace of the run of this folder; raises, naming them, if some resist."""
    pids = [*processes.recorded(records(folder)), *processes.shims(folder)]
    sockets = _shim_sockets(folder)
    processes.kill(pids)
    processes.wait_gone(pids)
    cgroups.remove(folder.name)
    for left in sockets:
        left.unlink(missing_ok=True)
    mounts.remove(folder)
    network.remove()
    _restore(folder)
    _remove_links(folder)
    if folder.exists():
        # One file system: should a mount be left after all, what is mounted there is not ours.
        run("rm", "-rf", "--one-file-system", folder)
    if left_over := remaining(folder):
        raise CommandFailedError(f"left behind by the cluster: {'; '.join(left_over)}")


def remaining(folder: Path) -> list[str]:
    """Everything of this run that is still on the machine, one line each."""
    pids = [*processes.recorded(records(folder)), *processes.shims(folder)]
    return [
        *(f"process {pid}" for pid in pids),
        *(f"cgroup {path}" for path in cgroups.existing(folder.name)),
        *(f"mount {path}" for path in mounts.below(folder)),
        *(f"interface {link}" for link in network.links()),
        *(f"chain {chain}" for chain in network.kubernetes_chains()),
        *([f"folder {folder}"] if folder.exists() else []),
    ]


def _shim_sockets(folder: Path) -> list[Path]:
    """A shim writes its socket's address beside its container."""
    texts = [file.read_text() for file in folder.glob("state/*/*/*/address")]
    return [Path(text.removeprefix("unix://")) for text in texts if text.startswith("unix:///")]


def _restore(folder: Path) -> None:
    try:
        noted = json.loads(_notes(folder).read_text())
    except FileNotFoundError:
        return  # it had not begun
    if noted["boot"] == processes.BOOT.read_text():
        network.set_switches(noted["switches"])
    for path in [Path(path) for path in noted["absent"]]:
        if path == Path("/run/containerd"):
            _remove_empty(path)  # a service may have been started since
        elif path.exists():
            shutil.rmtree(path)


def _remove_empty(folder: Path) -> None:
    for path in (folder / "s", folder):
        try:
            path.rmdir()
        except OSError:
            return


def _remove_links(folder: Path) -> None:
    for link in Path("/var/log/containers").glob("*.log"):
        if link.is_symlink() and str(link.readlink()).startswith(f"{folder}/"):
            link.unlink()
