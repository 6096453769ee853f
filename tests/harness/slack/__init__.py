"""A fake of Slack that the real client can be pointed at; `server` is where it begins."""

from tests.harness.slack.server import Call, FakeSlack, Fault
from tests.harness.slack.workspace import CHANNEL, TOKEN, User, Workspace

__all__ = ["CHANNEL", "TOKEN", "Call", "FakeSlack", "Fault", "User", "Workspace"]
