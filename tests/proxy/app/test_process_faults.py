"""Whatever spoils a request, it is counted and logged once, and nothing of it stays behind."""

from contextlib import AsyncExitStack
from pathlib import Path

from tests.harness.process_size import descriptors
from tests.harness.proxy_process import COMMAND, RULES, fronted
from tests.harness.wait import run
from tests.harness.wire import call, connected, post
from tests.proxy.long.tally import MIB, run_mixture


def test_after_fifteen_hundred_requests_with_faults_all_counts_agree(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        await run_mixture(tmp_path, 1500, at_once=100, growth=32 * MIB)

    test()


def test_a_low_limit_of_files_at_first_is_raised(tmp_path: Path) -> None:
    # As containerd 2 starts a process, with fewer.
    command = ("bash", "-c", 'ulimit -S -n 64; exec "$0" "$@"', COMMAND)

    @run
    async def test() -> None:
        rules = RULES + "limits: {connections: 300}\n"
        async with (
            fronted(tmp_path, rules, command=command) as (_, proxy),
            AsyncExitStack() as stack,
        ):
            for _ in range(200):
                wire = await stack.enter_async_context(connected(proxy.port))
                await wire.send(post(call("get_user")))
                assert (await wire.reply()).status == 200
            assert descriptors(proxy) > 200

    test()
