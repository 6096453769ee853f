"""Mounts below a folder of ours."""

import codecs
from pathlib import Path

from tests.cluster.commands import CommandFailedError, run


def below(folder: Path) -> list[str]:
    """Mount points below the folder, the latest first, which may lie within earlier ones."""
    points = []
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = codecs.decode(line.split()[4], "unicode_escape")  # a space is written \040
        if point.startswith(f"{folder}/"):
            points.append(point)
    return points[::-1]


def remove(folder: Path) -> None:
    """Unmounts everything below the folder, in use or not."""
    if points := below(folder):
        run("umount", "--lazy", "--", *points)


def remove_tree(folder: Path) -> None:
    """Removes a folder with all in it, and nothing of what may be mounted there.

    INVARIANT: we remove a tree in which others may have mounted things by this function only.
    """
    remove(folder)
    if folder.exists():
        run("rm", "-rf", "--one-file-system", "--", folder)


def carries_overlay(folder: Path) -> bool:
    """Whether an overlay can lie on the folder's file system (on another overlay it cannot)."""
    trial = folder / "overlay-trial"
    layers = {name: trial / name for name in ("lower", "upper", "work", "merged")}
    for layer in layers.values():
        layer.mkdir(parents=True, exist_ok=True)
    options = f"lowerdir={layers['lower']},upperdir={layers['upper']},workdir={layers['work']}"
    try:
        run("mount", "-t", "overlay", "overlay", "-o", options, layers["merged"])
    except CommandFailedError:
        return False
    run("umount", layers["merged"])
    return True
