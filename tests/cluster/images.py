"""The images that pods of the tests run: built from a local base, kept as archives in the cache.

An image's tag is the key of all that goes into it, so a pod can only run what the sources say.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import archives, binaries, cache, mounts, packages
from tests.cluster.commands import run
from tests.cluster.configuration import PAUSE_IMAGE

ROOT = Path(__file__).parents[2]
SUITE = "trixie"
# python-is-python3: the official Python images call it `python` too.
BASE_PACKAGES = ("python3", "python3-venv", "python-is-python3", "ca-certificates")
# What a Dockerfile of the project may copy; with a .dockerignore saying the same.
PROJECT_FILES = ("pyproject.toml", "README.md", "LICENSE", "proxy", "injector")
KEPT_STEPS = 60  # of builds; each change of sources adds some, and disk space is finite
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"  # where Debian's programs look, pip included

Say = Callable[[str], None]


@dataclass(frozen=True)
class Image:
    """An image as a pod names it, and the archive that holds it."""

    name: str
    archive: Path


def pause(say: Say) -> Image:
    """What holds a pod's namespaces."""
    binary = binaries.pause(say)

    def make(where: Path) -> None:
        layer = where.with_name("layer.tar")
        run(
            "tar",
            "-cf",
            layer,
            "--owner=0",
            "--group=0",
            "--transform=s/.*/pause/",
            binary.name,
            cwd=binary.parent,
        )
        archives.write(where, PAUSE_IMAGE, layer, {"Entrypoint": ["/pause"], "User": "65535:65535"})

    key = cache.key_of(binary.name, PAUSE_IMAGE, Path(archives.__file__))
    return Image(PAUSE_IMAGE, cache.made("pause-image", key, make))


def base(say: Say) -> Image:
    """Debian 13 with its Python 3.13, for what `python:3.13-slim-trixie` is elsewhere."""
    key = cache.key_of(SUITE, *BASE_PACKAGES, *_TRIMMED)
    name = f"localhost/thoughtgate-base:{key}"

    def make(where: Path) -> None:
        packages.require(packages.TO_BUILD, say)
        say("making the base image from Debian's packages (a minute or two the first time)")
        root, layer = where.with_name("root"), where.with_name("layer.tar")
        included = f"--include={','.join(BASE_PACKAGES)}"
        run("debootstrap", "--variant=minbase", included, SUITE, root, *_mirror(), limit=1800)
        excluded = [f"--exclude=./{path}" for path in _TRIMMED]
        run("tar", "-cf", layer, "--numeric-owner", "-C", root, *excluded, ".")
        config = {"Env": ["PATH=/usr/local/bin:/usr/bin:/bin"], "Cmd": ["python3"]}
        archives.write(where, name, layer, config)

    return Image(name, cache.made("base-image", key, make))


# Of the base: what the kernel provides, and what no container needs.
_TRIMMED = (
    "dev/*", "proc/*", "sys/*", "var/cache/apt/*", "var/lib/apt/lists/*", "var/log/*",
    "usr/share/doc/*", "usr/share/man/*", "usr/share/locale/*", "debootstrap",
)  # fmt: skip


def _mirror() -> list[str]:
    """Where this machine's apt gets Debian from, which holds every release; else the default."""
    form = "$(CREATED_BY) $(COMPONENT) $(REPO_URI) $(LABEL)"
    for line in run("apt-get", "indextargets", "--format", form).splitlines():
        created_by, component, uri, label = line.split(" ", 3)
        if (created_by, component, label) == ("Packages", "main", "Debian"):
            return [uri]
    return []


def project(program: str, say: Say) -> Image:
    """The project's own image of this Dockerfile's ending: `proxy` or `injector`."""
    files: dict[str, str | Path] = {name: ROOT / name for name in PROJECT_FILES}
    locked = sorted((ROOT / "requirements").glob("*.txt"))
    files |= {f"requirements/{file.name}": file for file in locked}
    dockerfile = (ROOT / f"Dockerfile.{program}").read_text()
    return build(f"thoughtgate-{program}", dockerfile, files, say)


def sample(say: Say) -> Image:
    """The sample MCP server and the agent's client."""
    pods = Path(__file__).parent / "pods"
    files: dict[str, str | Path] = {
        "examples.txt": ROOT / "requirements" / "examples.txt",
        "server.py": ROOT / "examples" / "demo" / "server.py",
        "agent.py": pods / "agent.py",
    }
    return build("thoughtgate-test-mcp", (pods / "Dockerfile").read_text(), files, say)


def of_project(say: Say) -> list[Image]:
    """The base and all of the project's own images."""
    programs = sorted(file.suffix[1:] for file in ROOT.glob("Dockerfile.*"))
    return [base(say), *(project(program, say) for program in programs)]


def build(name: str, dockerfile: str, files: Mapping[str, str | Path], say: Say) -> Image:
    """An image from a Dockerfile's text, with `ARG BASE_IMAGE` and `FROM ${BASE_IMAGE}`.

    `files` is all that it can copy: paths there -> texts, or files and folders here.
    """
    parent = base(say)
    parts = [part for path in sorted(files) for part in (path, files[path])]
    key = cache.key_of(parent.name, dockerfile, *parts)
    full_name = f"localhost/{name}:{key}"

    def make(where: Path) -> None:
        packages.require(packages.TO_BUILD, say)
        say(f"building the image {name}")
        context = where.with_name("context")
        _lay_out(context, files)
        _build(dockerfile, parent, full_name, where)

    return Image(full_name, cache.made(f"{name}-image", key, make))


def _lay_out(context: Path, files: Mapping[str, str | Path]) -> None:
    context.mkdir()
    for path, content in files.items():
        target = context / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            target.write_text(content)
        elif content.is_dir():
            shutil.copytree(content, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(content, target)


def _build(dockerfile: str, parent: Image, name: str, where: Path) -> None:
    """With steps kept from build to build: a change of sources alone installs nothing anew."""
    storage = cache.folder() / "buildah"
    storage.mkdir(exist_ok=True)
    where.with_name("Dockerfile").write_text(dockerfile)
    with cache.lock("buildah"), tempfile.TemporaryDirectory(prefix="thoughtgate-build-") as state:
        mounts.remove(storage)  # of a build that crashed
        driver = "overlay" if mounts.carries_overlay(storage) else "vfs"
        root = storage / driver
        try:
            _run_build(
                ["--root", root, "--runroot", state, "--storage-driver", driver],
                parent,
                name,
                where,
            )
        finally:
            mounts.remove(root)  # the driver keeps its own folder mounted on itself
            mounts.remove_tree(Path(state))


def _run_build(options: list[str | Path], parent: Image, name: str, where: Path) -> None:
    tool = ["buildah", *options]
    if len(run(*tool, "images", "-a", "-q").split()) > KEPT_STEPS:
        run(*tool, "rmi", "--all", "--force")
    run(*tool, "rm", "--all")
    if parent.name not in run(*tool, "images", "--format", "{{.Name}}:{{.Tag}}"):
        run(*tool, "pull", "-q", f"docker-archive:{parent.archive}", limit=600)
    run(
        *tool, "bud", "-q", "--isolation", "chroot", "--pull-never", "--layers",
        "--build-arg", f"BASE_IMAGE={parent.name}", *_trust(),
        "-f", where.with_name("Dockerfile"), "-t", name, where.with_name("context"), limit=1800,
    )  # fmt: skip
    run(*tool, "push", "-q", name, f"docker-archive:{where}:{name}", limit=600)


def _trust() -> list[str]:
    """Lets pip trust what this machine trusts, a company's own authority for instance."""
    bundle = os.environ.get("SSL_CERT_FILE", CA_BUNDLE)
    return ["-v", f"{bundle}:{CA_BUNDLE}:ro"] if Path(bundle).is_file() else []
