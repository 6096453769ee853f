"""How the cost of a call grows with what is configured and with what else is going on."""

import dataclasses
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import CONFIG, thoughtgate
from benchmarks.forward import started, upstream
from benchmarks.load import cpu_seconds, press, resident

_PAGE = """
approval:
  default: {adapter: page, timeout: 1h, hold: 10m}
limits: {pending_approvals: 1000, concurrent_requests: 20000, connections: 10000}
"""
_OTHERS = 'permit(principal == Agent::"team/app%d", action == Action::"Forward", resource);\n'
_ALL = (
    'permit(principal, action == Action::"Forward", resource) '
    'when { resource.tool_name == "tool_%d" };\n'
)


@dataclass(frozen=True)
class Point:
    """What one size of something cost: CPU seconds a call, p99 in seconds, memory in bytes."""

    size: int
    cpu: float
    p99: float
    memory: int
    start_cpu: float


@dataclass(frozen=True)
class Curve:
    """How calls fare as `what` grows; `setting` makes the configuration of each size.

    `beside` is what is going on meanwhile, for a size; `names` is how many tools are called. A load
    lasts `seconds_each` times the size at least.
    """

    name: str
    what: str
    sizes: tuple[int, ...]
    setting: Callable[[int], str] = lambda _size: CONFIG
    beside: str | None = None
    tool: Callable[[int], str] = lambda _size: "get_user"
    names: Callable[[int], int] = lambda _size: 1
    body: Callable[[int], str | None] = lambda _size: None
    connections: int = 16
    seconds_each: float = 0.0
    explained: str = ""


def _rules(size: int) -> str:
    rules = "".join(f'    - {{match: "admin_{n}_*", action: deny}}\n' for n in range(size))
    return CONFIG.rstrip() + "\n" + rules


def _policies(text: str) -> Callable[[int], str]:
    def config(size: int) -> str:
        mine = 'permit(principal, action == Action::"Forward", resource) when '
        inline = mine + '{ resource.tool_name == "get_user" };\n'
        inline += "".join(text % n for n in range(size - 1))
        indented = "".join(f"    {line}\n" for line in inline.splitlines())
        governed = CONFIG.replace("action: forward", "action: policy")
        return f"{governed}cedar:\n  inline: |\n{indented}"

    return config


_LIST = '{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"cursor":"%d"}}'


def _hiding(_size: int) -> str:
    return CONFIG.replace('%d"}', '%d", expose: {mode: blocklist, tools: ["tool_*7"]}}')


def _holding(_size: int) -> str:
    held = '    - {match: "held_*", action: approve}\n'
    return CONFIG.rstrip() + "\n" + held + _PAGE


CURVES = (
    Curve(
        "rules", "rules", (1, 10, 100, 1_000, 10_000), _rules,
        explained="A name's rule is looked for once and remembered; only reading them costs.",
    ),
    Curve(
        "policies-others", "policies for other principals", (1, 10, 100, 1_000),
        _policies(_OTHERS),
        explained="The principal is fixed for the life of the pod: these are left out at load.",
    ),
    Curve(
        "policies-all", "policies that could match", (1, 10, 100, 1_000), _policies(_ALL),
        explained="Cedar evaluates each of them, every time: arguments may decide.",
    ),
    Curve(
        "tools", "tools called in turn", (1, 10, 100, 1_000, 10_000),
        names=lambda size: size,
        explained="What is remembered of a name is bounded, and then looked for anew.",
    ),
    Curve(
        "listing", "tools in a listing, some of them hidden", (1, 10, 100, 1_000, 10_000), _hiding,
        body=lambda size: _LIST % size, connections=4,
        explained="A listing is read and written anew, so it grows with its tools.",
    ),
    Curve(
        "held", "calls held for a human", (0, 10, 100, 1_000, 10_000), _holding, beside="hold",
        explained="A held call is a connection, a task and a timer; it does nothing.",
    ),
    Curve(
        "streams", "open listening streams", (0, 10, 100, 1_000), beside="listen",
        explained="A stream is two connections and a task; it does nothing.",
    ),
    Curve(
        "reply", "bytes of the reply",
        (100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000),
        tool=lambda size: f"reply_{size}", connections=1, seconds_each=1e-7,
        explained="Bytes are passed on as they come; memory does not grow with them.",
    ),
)  # fmt: skip


def measure_growth(curve: Curve, rounds: int, seconds: int) -> list[Point]:
    """Each size in turn, `rounds` times; gives medians."""
    found: dict[int, list[Point]] = {}
    with tempfile.TemporaryDirectory(prefix="thoughtgate-bench-") as name:
        for number in range(rounds):
            for size in curve.sizes:
                folder = Path(name) / f"{number}-{size}"
                folder.mkdir()
                print(f"{curve.what}: {size}", file=sys.stderr)
                with upstream(folder) as port:
                    found.setdefault(size, []).append(_point(curve, size, port, seconds, folder))
    return [_median(points) for points in found.values()]


def _point(curve: Curve, size: int, upstream_port: int, seconds: int, folder: Path) -> Point:
    with started(thoughtgate(curve.setting(size)), upstream_port, folder) as (pid, usual):
        start_cpu = cpu_seconds(pid)
        aim = dataclasses.replace(
            usual, tool=curve.tool(size), names=curve.names(size), body=curve.body(size)
        )
        seconds = max(seconds, int(size * curve.seconds_each))
        with _going_on(curve.beside, aim.port, size):
            press(aim, curve.connections, 1, folder, pid, least=0)
            spent = press(aim, curve.connections, seconds, folder, pid)
            return Point(size, spent.cpu_per_request, spent.p99, resident(pid), start_cpu)


@contextmanager
def _going_on(beside: str | None, port: int, size: int) -> Iterator[None]:
    """Hold `size` requests open, all of them begun."""
    if beside is None or size == 0:
        yield
        return
    command = [sys.executable, "-m", "benchmarks.holding", beside, str(port), str(size)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.PIPE) as process:
        try:
            if process.stdout is None or not process.stdout.readline():
                raise RuntimeError(f"{size} requests could not be held")
            yield
        finally:
            process.kill()


def _median(points: list[Point]) -> Point:
    return Point(
        points[0].size,
        statistics.median(point.cpu for point in points),
        statistics.median(point.p99 for point in points),
        int(statistics.median(point.memory for point in points)),
        statistics.median(point.start_cpu for point in points),
    )
