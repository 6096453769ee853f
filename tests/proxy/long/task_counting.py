"""The proxy's command, with a way to ask from outside what it has not yet ended.

On SIGUSR1 it writes the number of its event loop's tasks to the file that `TASKS_FILE` names.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path

from thoughtgate_proxy.cli import main


def _tell(*_: object) -> None:
    file = Path(os.environ["TASKS_FILE"])
    new = file.with_suffix(".new")
    new.write_text(str(len(asyncio.all_tasks())))
    new.replace(file)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _tell)
    sys.exit(main.main())
