"""`python -m tests.harness.slack`: serve, as in a pod; or drive one that serves on this machine.

    python -m tests.harness.slack --port 8080 --url http://slack.default:8080
    python -m tests.harness.slack --port 8080 control react '{"user": "U0ALICE", "name": "+1"}'
    python -m tests.harness.slack --port 8080 control messages

The token is `xoxb-your-token`, the channel `#approvals`; users are in `workspace`.
"""

import argparse
import asyncio
import signal
import sys
import urllib.error
import urllib.request

from tests.harness.slack.limits import REAL
from tests.harness.slack.server import FakeSlack


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--url", help="how clients reach it (default: 127.0.0.1 and the port)")
    parser.add_argument("control", nargs="*", metavar="control WHAT [JSON]")
    options = parser.parse_args()
    if not options.control:
        asyncio.run(_serve(options.port, options.url))
        return 0
    what, *body = options.control[1:]
    url = f"http://127.0.0.1:{options.port}/control/{what}"
    data = body[0].encode() if body else b"{}"
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310  always http
            print(answer.read().decode())
    except urllib.error.HTTPError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


async def _serve(port: int, url: str | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    # From the other pods, so on all addresses.
    async with FakeSlack(limits=REAL, host="0.0.0.0", port=port, base_url=url) as slack:
        print(f"serving {slack.url}", flush=True)
        await stop.wait()


if __name__ == "__main__":
    sys.exit(main())
