"""`make bench`: how fast and how small it is, as measured just now, beside others.

Prints Markdown; a whole run also keeps it in benchmarks/results, and the curves in docs/images.
"""

import argparse
import subprocess
import sys
from pathlib import Path

from benchmarks import report
from benchmarks.contenders import contenders
from benchmarks.forward import measure, table
from benchmarks.growth import CURVES, Curve, Point, measure_growth
from benchmarks.load import LoadFailed
from benchmarks.peers import peers
from examples.demo.processes import NotAsTold
from requirements.environment import InstallFailedError

_IMAGES = Path(__file__).parent.parent / "docs" / "images"


def main() -> int:
    """The exit code: 0, or 1 if something could not be measured."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often all are measured in turn")
    parser.add_argument("--seconds", type=int, default=3, help="how long each load lasts")
    parser.add_argument("--no-peers", action="store_true", help="leave other gateways out")
    parser.add_argument(
        "--growth", nargs="*", metavar="CURVE", default=[curve.name for curve in CURVES],
        choices=[curve.name for curve in CURVES], help="only these curves, or none",
    )  # fmt: skip
    options = parser.parse_args()
    try:
        all_of_them = [*contenders(), *([] if options.no_peers else peers())]
        lines = table(measure(all_of_them, options.rounds, options.seconds))
        print("\n".join(lines), flush=True)
        if not options.no_peers:
            report.write("forward", "The forward path", lines)
        for curve in CURVES:
            if curve.name in options.growth:
                _grow(curve, min(options.rounds, 3), min(options.seconds, 2))
    except (LoadFailed, NotAsTold, InstallFailedError, subprocess.SubprocessError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _grow(curve: Curve, rounds: int, seconds: int) -> None:
    from benchmarks import plots  # noqa: PLC0415  only here is its library needed

    points = measure_growth(curve, rounds, seconds)
    lines = _points(curve, points)
    print("\n".join(["", f"## {curve.what}", "", *lines]), flush=True)
    report.write(f"growth-{curve.name}", f"Growth: {curve.what}", lines)
    plots.draw(curve, points, _IMAGES)


def _points(curve: Curve, points: list[Point]) -> list[str]:
    return [
        curve.explained,
        "",
        f"| {curve.what} | CPU a call | p99 | MB resident | CPU s to start |",
        "|---|---|---|---|---|",
        *(
            f"| {point.size:,} | {point.cpu * 1e6:,.0f} us | {point.p99 * 1e3:,.1f} ms | "
            f"{point.memory / 1e6:.0f} | {point.start_cpu:.2f} |"
            for point in points
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
