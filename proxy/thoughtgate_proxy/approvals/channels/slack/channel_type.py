"""Slack as a channel: what its workflows may say, and what it needs."""

import random
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from thoughtgate_proxy.approvals.channels.channel import (
    Channel,
    ChannelContext,
    ChannelReport,
    ChannelSettings,
    ChannelType,
)
from thoughtgate_proxy.approvals.channels.slack.account import URL_VARIABLE, Account
from thoughtgate_proxy.approvals.channels.slack.workflow import APPROVER, GROUP, SlackWorkflow
from thoughtgate_proxy.core.config.values import Workflow

if TYPE_CHECKING:
    from thoughtgate_proxy.approvals.queue import ApprovalQueue


def _make(queue: "ApprovalQueue", context: ChannelContext) -> Channel:
    # Only now, as a check of the configuration is to answer at once.
    from thoughtgate_proxy.approvals.channels.slack.channel import SlackChannel  # noqa: PLC0415

    return SlackChannel(
        queue, Account(context.settings), context.log, context.metrics, context.ready,
        wall=time.time, now=time.monotonic, random=random.random,
    )  # fmt: skip


def _check(_: Mapping[str, Workflow], settings: ChannelSettings) -> ChannelReport:
    wrong = Account(settings).wrong_url()
    return ChannelReport([(URL_VARIABLE, wrong)] if wrong else [])


def _check_online(workflows: Mapping[str, Workflow], settings: ChannelSettings) -> ChannelReport:
    # Only now, as it brings the network's libraries.
    from thoughtgate_proxy.approvals.channels.slack.check import check  # noqa: PLC0415

    return check(Account(settings), workflows)


SLACK: Final = ChannelType(
    keys=SlackWorkflow,
    approver=APPROVER,
    approver_form=(
        "Slack does not know; allowed: a user id `U...`, a user group's id `S...`, or an e-mail "
        "address"
    ),
    anyone="in the channel",
    group=GROUP,
    make=_make,
    check=_check,
    check_online=_check_online,
)
