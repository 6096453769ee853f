"""The seam between approvals and the channels that ask humans.

A channel is one package that exports one `ChannelType`, and `catalog.CHANNELS` has its name. It
knows its people: it says who voted only for those who may decide under the workflow in force. The
approval service counts, keeps, and says what became of each request.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from thoughtgate_proxy.core.approval import Approval
from thoughtgate_proxy.core.config.values import Config, Workflow
from thoughtgate_proxy.core.config.workflows import WorkflowType

if TYPE_CHECKING:  # what a check of the configuration must not load
    import asyncio

    from thoughtgate_proxy.approvals.queue import ApprovalQueue
    from thoughtgate_proxy.telemetry.log import Log
    from thoughtgate_proxy.telemetry.metrics import Metrics

_SECRETS = "/etc/thoughtgate-secrets"


class AskFailed(Exception):
    """The humans could not be told; `reason` is one line for the agent and the log."""

    def __init__(self, reason: str, kind: str) -> None:
        """`kind` is a short word for the metric, such as `slack_auth` or `slack_channel`."""
        super().__init__(reason)
        self.reason, self.kind = reason, kind


class Channel(Protocol):
    """One way of asking humans, at work in a process."""

    async def ask(self, approval: Approval) -> str:
        """Tell the humans; gives the note to keep as `Approval.message_ref`. Raises `AskFailed`.

        May be called again with the same approval after an unknown outcome (we were killed between
        telling and writing it down): the humans must not be asked twice.
        """

    async def update(self, approval: Approval) -> None:
        """Say what became of it, each time that its state changes. Does not raise."""

    async def run(self) -> None:
        """Look for decisions, until cancelled; it is started again if it ends."""


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """Where a channel finds its settings: a folder with the Secret's files, and the environment.

    `offline`: a check apart from the pod, which alone has the Secret; there a file that is missing
    is no mistake.
    """

    secrets: Path
    environ: Mapping[str, str] = field(repr=False)
    offline: bool = False

    @classmethod
    def of(cls, environ: Mapping[str, str], *, offline: bool = False) -> "ChannelSettings":
        """Those of a process with that environment."""
        folder = Path(environ.get("THOUGHTGATE_SECRETS_DIR") or _SECRETS)
        return cls(folder, environ, offline)


@dataclass(frozen=True, slots=True)
class ChannelContext:
    """What the process gives to a channel.

    `ready` is set when the process serves. `serve_page` serves the approvals page of a
    `PageChannel` (not named here: each channel knows this file) on the pod's port 7468 until
    cancelled, and raises `OSError`.
    """

    settings: ChannelSettings
    log: "Log"
    metrics: "Metrics"
    ready: "asyncio.Event"
    serve_page: Callable[[Any], Awaitable[None]]


@dataclass(slots=True)
class ChannelReport:
    """What a check found: `mistakes` keep approvals from working, `warnings` and `notes` do not.

    The first two are places in the configuration, each with one line.
    """

    mistakes: list[tuple[str, str]] = field(default_factory=list)
    warnings: list[tuple[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


ChannelCheck = Callable[[Mapping[str, Workflow], ChannelSettings], ChannelReport]
"""Checks the settings against the workflows, by name, that ask this channel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelType(WorkflowType):
    """All that the product knows of a channel: its workflows, its settings, and how it is made."""

    make: "Callable[[ApprovalQueue, ChannelContext], Channel]"
    check: ChannelCheck = lambda _, __: ChannelReport()
    """Checks without the network, at the start and at each reload until the channel is made."""
    check_online: ChannelCheck | None = None
    """Asks the channel's server, for `check --online`."""
    serves_page: bool = False
    """Whether it needs the pod's port 7468, which is then taken before the process is ready."""


def check_channels(
    config: Config, channels: Mapping[str, ChannelType], settings: ChannelSettings
) -> dict[str, ChannelReport]:
    """What each channel that a workflow asks says of its settings, without the network."""
    asked = dict.fromkeys(workflow.adapter for workflow in config.approval.values())
    return {name: channels[name].check(config.workflows_of(name), settings) for name in asked}
