"""The curves, drawn."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

from benchmarks.growth import Curve, Point

mpl.use("svg")
mpl.rcParams["svg.hashsalt"] = "thoughtgate"  # the same curve gives the same file

from matplotlib import pyplot as plt  # noqa: E402  once it is told not to look for a screen


def draw(curve: Curve, points: Sequence[Point], folder: Path) -> Path:
    """Draw CPU a call and memory over the sizes; gives the file."""
    folder.mkdir(parents=True, exist_ok=True)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
    sizes = [point.size for point in points]
    left.plot(sizes, [point.cpu * 1e6 for point in points], "o-", label="CPU a call, us")
    left.plot(sizes, [point.p99 * 1e6 for point in points], "s--", label="p99, us")
    left.set_yscale("log")
    left.legend()
    right.plot(sizes, [point.memory / 1e6 for point in points], "o-", label="resident, MB")
    right.set_ylim(bottom=0)
    right.legend()
    for axes in (left, right):
        axes.set_xscale("symlog" if 0 in sizes else "log")
        axes.set_xlabel(curve.what)
        axes.grid(alpha=0.3)
    path = folder / f"growth-{curve.name}.svg"
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
    return path
