"""Installs the Debian packages that are missing, and only those."""

import shutil
from collections.abc import Callable
from pathlib import Path

from tests.cluster import cache
from tests.cluster.commands import PATH, ClusterUnavailableError, CommandFailedError, run

CNI_PLUGINS = Path("/usr/lib/cni")  # Debian's place; upstream's is /opt/cni/bin

# What we call or read -> the Debian package that brings it.
TO_RUN = {
    "containerd": "containerd",
    "runc": "runc",
    str(CNI_PLUGINS / "bridge"): "containernetworking-plugins",
    "iptables": "iptables",
    "ip6tables": "iptables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "mount": "mount",
    "setpriv": "util-linux",
}
TO_BUILD = {
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    # Debian 12's own at first knew no key of Debian 13; its update does.
    "/usr/share/keyrings/debian-archive-trixie-stable.gpg": "debian-archive-keyring",
}


def require(programs: dict[str, str], say: Callable[[str], None]) -> None:
    """Makes sure that each of the programs can be called, each of the files read."""
    if not _missing(programs):
        return
    if shutil.which("apt-get") is None:
        raise ClusterUnavailableError(
            f"no `apt-get` to install {', '.join(_missing(programs))}: it needs Debian 12"
        )
    with cache.lock("apt"):
        packages = _missing(programs)
        if not packages:
            return
        say(f"installing Debian's {' '.join(packages)}")
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        install = ["apt-get", "install", "-y", "-q", "--no-install-recommends", *packages]
        try:
            run("apt-get", "update", "-q", env=quiet, limit=300)
            run(*install, env=quiet, limit=600)
        except CommandFailedError as error:
            raise ClusterUnavailableError(
                f"cannot install {' '.join(packages)}: {error}"
            ) from error
    if left := _missing(programs):
        raise ClusterUnavailableError(f"installed, yet still missing: {', '.join(left)}")


def _missing(programs: dict[str, str]) -> list[str]:
    return sorted({package for name, package in programs.items() if not _is_there(name)})


def _is_there(name: str) -> bool:
    if name.startswith("/"):
        return Path(name).exists()
    return shutil.which(name, path=PATH) is not None
