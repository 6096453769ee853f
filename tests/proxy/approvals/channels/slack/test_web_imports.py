"""What the Slack adapter costs those who do not use it."""

import subprocess
import sys


def test_the_adapter_brings_no_library_of_the_network_until_it_is_used() -> None:
    code = (
        "import sys; import thoughtgate_proxy.approvals.channels.slack.channel; "
        "print([m for m in ('aiohttp', 'slack_sdk') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
