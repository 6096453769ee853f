"""`python -m tests.conformance`: measure, and write the tables of docs/compatibility.md anew."""

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.conformance import report
from tests.conformance.measured import Measured
from tests.conformance.packages import Unavailable, node
from tests.conformance.world import World, opened


def main() -> int:
    """The exit code: 0 if the tables were written."""
    try:
        packages = node()
    except Unavailable as error:
        print(f"nothing can be measured here: {error}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder, asyncio.Runner() as runner:
        opening = opened(packages, Path(folder))
        servers = runner.run(opening.__aenter__())
        try:
            report.write(report.tables(Measured(World(packages, runner, servers))))
        finally:
            runner.run(opening.__aexit__(None, None, None))
    print(f"written: {report.PAGE.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
