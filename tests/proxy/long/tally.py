"""A run of the mixture, after which all counts agree and nothing is left behind."""

import sys
import time
from pathlib import Path

from tests.harness.mcp_server import FakeMcpServer
from tests.harness.process_size import TASKS, descriptors, resident, tasks
from tests.harness.proxy_process import RULES, Proxy, config, started
from tests.harness.wait import within
from tests.proxy.long.mixture import SOURCE, Arrived, Logged, Sent, mixed, script

COUNTING = (sys.executable, "-m", "tests.proxy.long.task_counting")
MIB = 1 << 20
# The pool to the server is emptied after a few seconds, and its sweeper goes round as rarely.
RELEASE_SECONDS = 20.0


async def run_mixture(folder: Path, count: int, at_once: int, growth: int) -> None:
    """Send `count` requests and check everything; memory may grow by `growth` bytes in the second
    half."""
    env = {"TASKS_FILE": str(folder / TASKS)}
    async with FakeMcpServer(script) as server:
        text = config(server.url, RULES + "limits: {connections: 1000}\n", SOURCE)
        async with started(folder, text, env=env, command=COUNTING) as proxy:
            arrived, logged = Arrived(), Logged()
            server.received, proxy.lines = arrived, logged
            files, running = descriptors(proxy), await tasks(proxy)
            begun = time.perf_counter()
            sent = await mixed(server, proxy, arrived, range(count // 2), at_once)
            middle = resident(proxy)
            rest = await mixed(server, proxy, arrived, range(count // 2, count), at_once)
            end, took = resident(proxy), time.perf_counter() - begun
            sent.kinds.update(rest.kinds)
            await all_agree(proxy, sent, arrived, logged)
            await within(
                lambda: descriptors(proxy) == files, "all descriptors closed", RELEASE_SECONDS
            )
            assert await tasks(proxy) == running
            assert end - middle < growth, f"{middle} bytes in the middle, {end} at the end"
            print(
                f"{count} requests, {at_once} at once: {took:.0f} s; memory {middle / MIB:.1f} MiB "
                f"in the middle, {end / MIB:.1f} at the end; descriptors {files} before and after, "
                f"tasks {running}"
            )


async def all_agree(proxy: Proxy, sent: Sent, arrived: Arrived, logged: Logged) -> None:
    """What was sent, what was logged, what was counted and what arrived are one."""
    await within(lambda: logged.decisions.total() >= sent.forwards + sent.denials, "all decisions")
    assert logged.decisions == {"forward": sent.forwards, "deny": sent.denials}
    assert logged.forwarded == arrived.calls
    assert arrived.requests == sent.upstream

    metrics = await proxy.metrics()

    def total(name: str, *labels: str) -> float:
        return sum(
            value
            for series, value in metrics.items()
            if series.partition("{")[0] == f"thoughtgate_{name}"
            and all(label in series for label in labels)
        )

    kinds = sent.kinds
    assert total("connections_active") == 0
    assert total("request_duration_seconds_count") == kinds.total()
    assert total("decisions_total") == logged.decisions.total()
    for outcome, count in logged.decisions.items():
        assert total("decisions_total", f'outcome="{outcome}"') == count
    assert total("upstream_requests_total") == arrived.requests
    no_reply = kinds["reset_before"] + kinds["leave_before"] + kinds["silent"]
    assert total("upstream_requests_total", 'status_code="none"') == no_reply
    for kind, count in {
        "http_400": kinds["malformed"],
        "upstream_down": kinds["reset_before"],
        "upstream_timeout": kinds["silent"],
        "upstream_cut": kinds["reset_within"] + kinds["stream_cut"],
        "internal": 0,
    }.items():
        assert total("errors_total", f'error_type="{kind}"') == count, kind

    def told() -> int:
        failures = ("refused", "upstream failed", "internal error")
        return sum(logged.messages[message] for message in failures)

    await within(lambda: told() >= total("errors_total"), "all failures")
    assert told() == total("errors_total")
