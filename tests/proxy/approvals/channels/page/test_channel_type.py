"""What the page needs to be asked, checked without the network."""

from pathlib import Path

import pytest

from tests.harness.page_server import ANNA
from thoughtgate_proxy.approvals.channels.channel import ChannelSettings
from thoughtgate_proxy.approvals.channels.page.channel_type import PAGE
from thoughtgate_proxy.core.config.values import Workflow

FLOWS = {"default": Workflow(adapter="page", approvers=("anna", "zoe"))}


def test_a_missing_secret_is_a_mistake_in_the_pod_and_none_in_a_check_apart(tmp_path: Path) -> None:
    ((place, line),) = PAGE.check(FLOWS, ChannelSettings(tmp_path, {})).mistakes
    assert place == "approval.default.adapter"
    assert line.startswith(f"the page needs `{tmp_path}/approver-tokens` with lines `name:token`")
    apart = PAGE.check(FLOWS, ChannelSettings(tmp_path, {}, offline=True))
    assert (apart.mistakes, apart.warnings) == ([], [])


@pytest.mark.parametrize("offline", [True, False])
def test_a_file_that_is_named_must_be_there_and_good(tmp_path: Path, *, offline: bool) -> None:
    environ = {"THOUGHTGATE_APPROVER_TOKENS": str(tmp_path / "t")}
    settings = ChannelSettings(Path("/nonexistent"), environ, offline)
    assert PAGE.check(FLOWS, settings).mistakes
    (tmp_path / "t").write_text(f"anna:{ANNA}\n")
    report = PAGE.check(FLOWS, settings)
    assert report.mistakes == []
    assert report.warnings == [
        ("approval.default.approvers", "`zoe` has no token for the page yet")
    ]
