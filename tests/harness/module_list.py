"""The command, which on SIGUSR1 also writes down which modules it has loaded.

`python -m tests.harness.module_list FILE run ...`.
"""

import signal
import sys
from pathlib import Path
from types import FrameType


def main() -> int:
    """The command's exit code."""
    file = Path(sys.argv.pop(1))

    def write(_number: int, _frame: FrameType | None) -> None:
        new = file.with_suffix(".new")
        # A lazy module that nobody has used yet is still of its loader's own class.
        new.write_text(
            "\n".join(n for n, m in sys.modules.items() if type(m).__name__ != "_LazyModule")
        )
        new.replace(file)

    signal.signal(signal.SIGUSR1, write)
    from thoughtgate_proxy.cli.main import main as command  # noqa: PLC0415  it is what is measured

    return command()


if __name__ == "__main__":
    sys.exit(main())
