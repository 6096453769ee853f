"""The channels of the product, by the name that a workflow gives as its `adapter`."""

from collections.abc import Mapping
from typing import Final

from thoughtgate_proxy.approvals.channels.channel import ChannelType
from thoughtgate_proxy.approvals.channels.page.channel_type import PAGE
from thoughtgate_proxy.approvals.channels.slack.channel_type import SLACK

CHANNELS: Final[Mapping[str, ChannelType]] = {"slack": SLACK, "page": PAGE}
