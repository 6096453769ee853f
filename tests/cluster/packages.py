"""Installs the Debian packages that are missing, and only those."""

import shutil
from collections.abc import Callable
from pathlib import Path

from tests.cluster import cache
from tests.cluster.commands import PATH, ClusterUnavailableError, CommandFailedError, run

CNI_PLUGINS = Path("/usr/lib/cni")  # Debian's place; upstream's is /opt/cni/bin

# What we call -> the Debian 12 package that brings it.
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
TO_BUILD = {"buildah": "buildah", "debootstrap": "debootstrap"}


def require(programs: dict[str, str], say: Callable[[str], None]) -> None:
    """Makes sure that each of the programs can be called."""
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
        raise ClusterUnavailableError(f"installed, yet still not callable: {', '.join(left)}")


def _missing(programs: dict[str, str]) -> list[str]:
    return sorted(
        {package for name, package in programs.items() if not shutil.which(name, path=PATH)}
    )
