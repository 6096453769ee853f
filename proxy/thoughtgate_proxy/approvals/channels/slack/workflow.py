"""A workflow that asks in Slack, with the keys that only Slack has."""

from typing import Annotated, Final

from msgspec import Meta

from thoughtgate_proxy.core.config.values import Workflow

GROUP: Final = "S[A-Z0-9]{2,20}"
"""A user group's id, as a regular expression."""
APPROVER: Final = r"[UWS][A-Z0-9]{2,20}|[^@\s<>]+@[^@\s<>]+\.[^@\s<>]+"
"""Who may be listed as an approver."""


class SlackWorkflow(Workflow, frozen=True, kw_only=True):
    """A workflow whose humans decide in a Slack channel."""

    channel: Annotated[str, Meta(extra={"read": "channel"})]
    mention: Annotated[
        tuple[Annotated[str, Meta(extra={"read": "mention"})], ...],
        Meta(extra={"one_or_many": True}, description="whom the message calls"),
    ] = ()

    @property
    def where(self) -> str:
        """The channel."""
        return f"slack {self.channel}"
