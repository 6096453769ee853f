"""The approvals page as a channel: what its workflows may say, and what it needs."""

import time
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

from thoughtgate_proxy.approvals.channels.channel import (
    Channel,
    ChannelContext,
    ChannelReport,
    ChannelSettings,
    ChannelType,
)
from thoughtgate_proxy.approvals.channels.page import tokens
from thoughtgate_proxy.core.config.values import Workflow

if TYPE_CHECKING:
    from thoughtgate_proxy.approvals.queue import ApprovalQueue


def _make(queue: "ApprovalQueue", context: ChannelContext) -> Channel:
    # Only now, as a check of the configuration is to answer at once.
    from thoughtgate_proxy.approvals.channels.page.channel import (  # noqa: PLC0415
        PageChannel,
        log_change,
    )

    path = tokens.place(context.settings)
    approvers = tokens.Approvers(path, partial(log_change, context.log))
    return PageChannel(queue, approvers, time.time, context.serve_page, context.log)


def _check(workflows: Mapping[str, Workflow], settings: ChannelSettings) -> ChannelReport:
    """Whether there is anybody who could decide."""
    report, path = ChannelReport(), tokens.place(settings)
    if settings.offline and path.parent == settings.secrets and not path.exists():
        return report
    reading = tokens.read(path)
    if reading.mistakes:
        line = f"the page needs `{path}` with lines `name:token`: {'; '.join(reading.mistakes)}"
        report.mistakes.append((f"approval.{next(iter(workflows))}.adapter", line))
    names = {approver.name for approver in reading.approvers}
    report.warnings += [
        (f"approval.{name}.approvers", f"`{listed}` has no token for the page yet")
        for name, workflow in workflows.items()
        for listed in workflow.approvers or ()
        if listed not in names
    ]
    return report


PAGE: Final = ChannelType(
    approver=tokens.APPROVER,
    approver_form="is no name; allowed: 1 to 64 of the characters `A-Z a-z 0-9 . _ @ + -`",
    anyone="with a token",
    make=_make,
    check=_check,
    serves_page=True,
)
