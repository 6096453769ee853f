"""The product's command, with one more channel."""

import sys

from tests.proxy.approvals.channels.toy.channel_type import TOY
from thoughtgate_proxy.approvals.channels.catalog import CHANNELS
from thoughtgate_proxy.cli.main import main

if __name__ == "__main__":
    sys.exit(main(channels={**CHANNELS, "toy": TOY}))
