"""What a running proxy holds of the machine: memory, file descriptors, tasks."""

import os
import resource
import signal
from pathlib import Path

from tests.harness.proxy_process import Proxy
from tests.harness.wait import within

MIB = 1 << 20
TASKS = "tasks"
"""The file in the proxy's folder that `tests.proxy.long.task_counting` writes."""


def resident(proxy: Proxy) -> int:
    """Bytes of memory of the proxy's process."""
    text = Path(f"/proc/{proxy.process.pid}/statm").read_text()
    return int(text.split()[1]) * resource.getpagesize()


def cpu_seconds(proxy: Proxy) -> float:
    """What the proxy's process has used so far, in user and system mode."""
    fields = Path(f"/proc/{proxy.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def descriptors(proxy: Proxy) -> int:
    """How many files and sockets the proxy has open."""
    return len(list(Path(f"/proc/{proxy.process.pid}/fd").iterdir()))


async def tasks(proxy: Proxy) -> int:
    """How many tasks the proxy's event loop has."""
    file = proxy.path.with_name(TASKS)
    file.unlink(missing_ok=True)
    proxy.process.send_signal(signal.SIGUSR1)
    await within(file.exists, "the number of tasks")
    return int(file.read_text())


def allow_descriptors(count: int) -> int:
    """Let this process, and those it starts, open `count` files or as many as it may; how many."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most
