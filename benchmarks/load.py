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
local names, number, bodies = %d, 0, {}
for i = 1, names do bodies[i] = wrk.body:gsub("get_user", "tool_" .. i) end
if names > 1 then
  request = function()
    number = number %% names + 1
    return wrk.format(nil, nil, nil, bodies[number])
  end
end
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
        return self.cpu / max(1, self.requests)


@dataclass(frozen=True)
class Aim:
    """Where on loopback the load goes, and with which call and headers.

    With more than one of `names`, `tool_1` to `tool_N` are called in turn; a `body`
    goes out in place of any call.
    """

    port: int
    path: str = "/"
    tool: str = "get_user"
    headers: Mapping[str, str] = field(default_factory=dict)
    names: int = 1
    body: str | None = None


def press(
    aim: Aim, connections: int, seconds: int, folder: Path, pid: int | None, least: int = 1
) -> Spent:
    """Press it for so many seconds; `pid` is the process measured.

    Raises `LoadFailed` if a request fails, or if there were not `least` of them.
    """
    wrk = shutil.which("wrk")
    if wrk is None:
        raise LoadFailed("wrk is missing: apt-get install wrk")
    script = folder / "call.lua"
    headers = "\n".join(f'wrk.headers["{k}"] = "{v}"' for k, v in aim.headers.items())
    script.write_text(_SCRIPT % (aim.body or CALL % aim.tool, headers, aim.names))
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
    if errors or requests < least:
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
