"""`make bench`: tables of requests a second, latency, CPU and memory, as measured just now."""

import argparse
import subprocess
import sys

from benchmarks import report
from benchmarks.contenders import contenders
from benchmarks.forward import measure, table
from benchmarks.load import LoadFailed
from benchmarks.peers import peers
from examples.demo.processes import NotAsTold


def main() -> int:
    """The exit code: 0, or 1 if something could not be measured."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="how often all are measured in turn")
    parser.add_argument("--seconds", type=int, default=3, help="how long each load lasts")
    parser.add_argument("--no-peers", action="store_true", help="leave other gateways out")
    options = parser.parse_args()
    try:
        all_of_them = [*contenders(), *([] if options.no_peers else peers())]
        lines = table(measure(all_of_them, options.rounds, options.seconds))
    except (LoadFailed, NotAsTold, subprocess.SubprocessError) as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(lines))
    if not options.no_peers:
        print(f"written to {report.write('forward', 'The forward path', lines)}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
