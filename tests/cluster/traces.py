"""What a run leaves on the machine, and its removal: the same after a good end and after a crash.

INVARIANT: what may have to be undone is written down before it is done.
"""

import json
import shutil
from pathlib import Path

from tests.cluster import cgroups, mounts, network, processes
from tests.cluster.commands import CommandFailedError

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


def begin(folder: Path) -> None:
    """Notes the machine as it is before anything is changed."""
    absent = [path for path in FIXED_FOLDERS if not Path(path).exists()]
    noted = {"absent": absent, "switches": network.switches()}
    _notes(folder).write_text(json.dumps(noted))


def _notes(folder: Path) -> Path:
    return folder / "before.json"


def remove(folder: Path) -> None:
    """Removes every trace of the run of this folder; raises, naming them, if some resist."""
    sockets = _shim_sockets(folder)
    processes.end(folder)
    cgroups.remove(folder.name)
    for left in sockets:
        left.unlink(missing_ok=True)
    mounts.remove(folder)
    network.remove()
    _restore(folder)
    _remove_links(folder)
    mounts.remove_tree(folder)
    if left_over := remaining(folder):
        raise CommandFailedError(f"left behind by the cluster: {'; '.join(left_over)}")


def remaining(folder: Path) -> list[str]:
    """Everything of this run that is still on the machine, one line each."""
    return [
        *(f"process {pid}" for pid in processes.of_run(folder)),
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
