"""The environment is read whole, refused in words, and documented."""

import ast
import re
from pathlib import Path

import pytest

from thoughtgate_proxy.runtime.settings import SettingsRefused, read_settings

ROOT = Path(__file__).parents[3]
VARIABLE = re.compile("[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+")


def test_every_variable_that_is_read_is_documented_and_no_other() -> None:
    page = (ROOT / "docs/operate.md").read_text()
    table = page.partition("\n## The sidecar's environment\n")[2].partition("\n## ")[0]
    first_cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    documented = {name for cell in first_cells for name in re.findall("`([^`]+)`", cell)}
    # Where the state is kept is told with the folder that it stands in for.
    assert documented == _read_variables() - {"XDG_STATE_HOME"}


def test_all_mistakes_are_told_at_once() -> None:
    wrong = {
        "THOUGHTGATE_OUTBOUND_PORT": "65536",
        "THOUGHTGATE_GRACE_SECONDS": "30s",
        "THOUGHTGATE_BIND": "localhost",
        "THOUGHTGATE_LOG_LEVEL": "loud",
        "HTTPS_PROXY": "socks5://proxy",
    }
    with pytest.raises(SettingsRefused) as refused:
        read_settings(wrong)
    assert {mistake.partition(":")[0] for mistake in refused.value.mistakes} == set(wrong)


def test_a_variable_of_a_service_link_is_told_as_one() -> None:
    with pytest.raises(SettingsRefused) as refused:
        read_settings(
            {"THOUGHTGATE_ADMIN_PORT": "tcp://10.0.0.1:80", "THOUGHTGATE_INBOUND_PORT": "http://x"}
        )
    other, link = sorted(refused.value.mistakes, key=len)
    assert link.startswith("THOUGHTGATE_ADMIN_PORT: `tcp://10.0.0.1:80`")
    assert "a Service `thoughtgate-admin` in the namespace" in link
    assert "enableServiceLinks: false" in link
    assert "Service" not in other


def test_a_variable_that_is_empty_is_as_good_as_none() -> None:
    assert read_settings(dict.fromkeys(_read_variables(), "")) == read_settings({})


@pytest.mark.parametrize(
    ("bind", "loopback"), [("127.0.0.1", True), ("::1, 127.0.0.2", True), ("127.0.0.1,::", False)]
)
def test_it_is_known_whether_others_can_reach_the_proxy(bind: str, loopback: bool) -> None:
    assert read_settings({"THOUGHTGATE_BIND": bind}).loopback_only is loopback


def _read_variables() -> set[str]:
    found: set[str] = set()
    for path in (ROOT / "proxy/thoughtgate_proxy").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and VARIABLE.fullmatch(str(node.value)):
                found.add(str(node.value))
    return found
