"""Load by wrk, and what a process spent meanwhile."""

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

CALL = (
    '{"jsonrpc":"2.0","id":1,"method":"tools/call",'
    '"params":{"name":"%s","arguments":{"user_id":7}}}'
)
_SCRIPT = """
wrk.method = "POST"
wrk.body = '%s'
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Accept"] = "application/json, text/event-stream"
%s
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("RESULT %%d %%d %%d %%d %%d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""
_TICKS = 100.0  # clock ticks a second; Linux has had it so on every platform we know


class LoadFailed(Exception):
    """The load could not be made, or not every request was answered well."""


@dataclass(frozen=True)
class Spent:
    """What one run of load took: times in seconds, memory in bytes."""

    requests: int
    seconds: float
    p50: float
    p99: float
    cpu: float

    @property
    def per_second(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds

    @property
    def cpu_per_request(self) -> float:
        """CPU seconds of the measured process for each request; 0 if none was measured."""
        return self.cpu / self.requests


@dataclass(frozen=True)
class Aim:
    """Where on loopback the load goes, and with which call and headers."""

    port: int
    path: str = "/"
    tool: str = "get_user"
    headers: Mapping[str, str] = field(default_factory=dict)


def press(aim: Aim, connections: int, seconds: int, folder: Path, pid: int | None) -> Spent:
    """Press it for so many seconds; `pid` is the process measured. Raises `LoadFailed`."""
    wrk = shutil.which("wrk")
    if wrk is None:
        raise LoadFailed("wrk is missing: apt-get install wrk")
    script = folder / "call.lua"
    headers = "\n".join(f'wrk.headers["{k}"] = "{v}"' for k, v in aim.headers.items())
    script.write_text(_SCRIPT % (CALL % aim.tool, headers))
    before = cpu_seconds(pid) if pid else 0.0
    command = [
        wrk, "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "20s", "-s", str(script),
        f"http://127.0.0.1:{aim.port}{aim.path}",
    ]  # fmt: skip
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds + 30, check=False
    )
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", done.stdout)
    if found is None:
        raise LoadFailed(f"wrk said: {done.stdout}{done.stderr}")
    requests, microseconds, p50, p99, errors = map(int, found.groups())
    if errors or not requests:
        raise LoadFailed(f"{errors} of {requests} requests failed: {done.stdout}")
    spent = cpu_seconds(pid) - before if pid else 0.0
    return Spent(requests, microseconds / 1e6, p50 / 1e6, p99 / 1e6, spent)


def cpu_seconds(pid: int) -> float:
    """What a process has used so far, in user and system mode."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def resident(pid: int) -> int:
    """A process's resident memory in bytes."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
