"""The kill switch must not die: whatever happens while reloading, the next version is looked at."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from thoughtgate_proxy.approvals.channels.catalog import CHANNELS
from thoughtgate_proxy.core.config.mistakes import ConfigRefused, Mistake
from thoughtgate_proxy.runtime import config_loader
from thoughtgate_proxy.runtime.config_loader import Loaded
from thoughtgate_proxy.runtime.config_watcher import ConfigWatcher
from thoughtgate_proxy.telemetry.log import Log

POLICY = 'permit(principal, action == Action::"Forward", resource);'
TEXT = """
schema: 1
sources: [{id: up, kind: mcp, url: "http://127.0.0.1:9"}]
governance: {defaults: {action: policy}}
cedar: {policies: ["*.cedar"]}
approval: {default: {adapter: page}}
"""


class Taking:
    """Takes configurations, or fails at them."""

    def __init__(self) -> None:
        self.taken: list[Loaded] = []
        self.failing: Exception | None = None

    def __call__(self, loaded: Loaded) -> None:
        if self.failing is not None:
            raise self.failing
        self.taken.append(loaded)


def watched(path: Path, loaded: Loaded, take: Callable[[Loaded], None], fd: int) -> ConfigWatcher:
    """A watcher that reads again what it has not seen."""
    return ConfigWatcher(
        path, {}, loaded, take, take, Log(lambda: 0.0, fd=fd), 0.0, CHANNELS, lambda: 7.0
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "a.cedar").write_text(POLICY)
    path = tmp_path / "config.yaml"
    path.write_text(TEXT)
    return path


def test_a_change_between_the_first_reading_and_the_first_look_is_seen(path: Path) -> None:
    take = Taking()
    loaded = config_loader.load(path, {}, CHANNELS)
    path.write_text(TEXT + "# changed\n")
    with (path.parent / "log").open("w") as log:
        watching = watched(path, loaded, take, log.fileno())
        watching.look()
    assert len(take.taken) == 1


def test_files_older_than_their_reading_are_not_read_again(path: Path) -> None:
    take = Taking()
    loaded = config_loader.load(path, {}, CHANNELS)
    path.write_text(TEXT.replace("default: {adapter", "changed: {adapter"))
    with (path.parent / "log").open("w") as log:
        for place in (path, path.with_name("a.cedar"), path.parent):
            os.utime(place, (1_000_000_000, 1_000_000_000))
        writes = Log(lambda: 0.0, fd=log.fileno())
        ConfigWatcher(path, {}, loaded, take, take, writes, 1_000_000_001.0, CHANNELS).look()
        assert not take.taken
        ConfigWatcher(path, {}, loaded, take, take, writes, 1_000_000_000.0, CHANNELS).look()
    assert len(take.taken) == 1


def test_a_change_while_a_configuration_is_taken_is_seen(path: Path) -> None:
    taken: list[Loaded] = []

    def take(loaded: Loaded) -> None:
        taken.append(loaded)
        if len(taken) == 1:
            path.write_text(TEXT + "# changed while the first change was taken\n")

    loaded = config_loader.load(path, {}, CHANNELS)
    path.write_text(TEXT + "# changed\n")
    with (path.parent / "log").open("w") as log:
        watching = watched(path, loaded, take, log.fileno())
        watching.look()
        watching.look()
    assert len(taken) == 2


@pytest.mark.parametrize("change", ["new file", "policy in place", "policy replaced"])
def test_a_change_of_the_policies_is_seen(path: Path, change: str) -> None:
    take = Taking()
    loaded = config_loader.load(path, {}, CHANNELS)
    with (path.parent / "log").open("w") as log:
        watching = watched(path, loaded, take, log.fileno())
        watching.look()
        assert not take.taken
        if change == "new file":
            (path.parent / "b.cedar").write_text(POLICY)
        elif change == "policy in place":
            (path.parent / "a.cedar").write_text(POLICY + "// more")
        else:
            (path.parent / "new").write_text(POLICY + "// more")
            (path.parent / "new").replace(path.parent / "a.cedar")
        watching.look()
        assert len(take.taken) == 1
        watching.look()
        assert len(take.taken) == 1


class Trying(Taking):
    """Refuses what it is given; `tries` counts how often."""

    def __init__(self) -> None:
        super().__init__()
        self.tries = 0
        self.failing = ConfigRefused([Mistake("config.yaml", None, "sources", "not there yet")])

    def __call__(self, loaded: Loaded) -> None:
        self.tries += 1
        super().__call__(loaded)


def test_a_refused_configuration_is_tried_again_with_growing_pauses(path: Path) -> None:
    take = Trying()
    loaded = config_loader.load(path, {}, CHANNELS)
    path.write_text(TEXT + "# changed\n")
    log_path = path.parent / "log"
    with log_path.open("w") as log:
        watching = watched(path, loaded, take, log.fileno())
        tried = []
        for look in range(100):
            before = take.tries
            watching.look()
            tried += [look] if take.tries > before else []
        assert tried == [0, 1, 3, 7, 15, 31, 61, 91]
        assert log_path.read_text().count("refused") == 1  # what has not changed is said once
        assert watching.refused_since == 7.0
        take.failing = None
        for _ in range(30):
            watching.look()
    assert len(take.taken) == 1
    assert watching.refused_since is None


def test_another_change_begins_with_a_short_pause(path: Path) -> None:
    take = Trying()
    loaded = config_loader.load(path, {}, CHANNELS)
    path.write_text(TEXT + "# changed\n")
    with (path.parent / "log").open("w") as log:
        watching = watched(path, loaded, take, log.fileno())
        for _ in range(70):
            watching.look()
        before = take.tries
        path.write_text(TEXT + "# changed again\n")
        watching.look()
        watching.look()
    assert take.tries == before + 2


@pytest.mark.parametrize("in_its_way", ["a mistake", "a missing file", "what it needs"])
def test_the_kill_switch_acts_whatever_is_in_its_way(path: Path, in_its_way: str) -> None:
    take, frozen = Taking(), Taking()
    loaded = config_loader.load(path, {}, CHANNELS)
    text = TEXT.replace("governance: {", "governance: {freeze: true, ")
    if in_its_way == "a mistake":
        text += "unknown: key\n"
    elif in_its_way == "a missing file":
        text = text.replace("*.cedar", "missing.cedar")
    else:
        take.failing = ConfigRefused([Mistake("config.yaml", None, "sources", "no credentials")])
    with (path.parent / "log").open("w") as log:
        watching = ConfigWatcher(
            path, {}, loaded, take, frozen, Log(lambda: 0.0, fd=log.fileno()), 0.0, CHANNELS
        )
        path.write_text(text)
        for _ in range(5):
            watching.look()
        assert len(frozen.taken) == 1
        assert frozen.taken[0].config.governance.freeze
        assert frozen.taken[0].policies is loaded.policies
        assert watching.mistakes  # it is told on, until the file is right
        take.failing = None
        path.write_text(TEXT)
        watching.look()
    assert [one.digest for one in take.taken] == [loaded.digest]


def test_a_version_that_says_nothing_of_freezing_freezes_nothing(path: Path) -> None:
    take, frozen = Taking(), Taking()
    loaded = config_loader.load(path, {}, CHANNELS)
    with (path.parent / "log").open("w") as log:
        watching = ConfigWatcher(
            path, {}, loaded, take, frozen, Log(lambda: 0.0, fd=log.fileno()), 0.0, CHANNELS
        )
        for text in ("", "governance: {}\n", "governance: {freeze: maybe}\n", TEXT + "bad: key\n"):
            path.write_text(text)
            watching.look()
            assert watching.mistakes
    assert not frozen.taken


SECRET = "sk-Secret-7"
WHERE_SECRETS_STAND = [
    f'url: "http://user:{SECRET}@127.0.0.1:99999/"',
    f'url: "{SECRET}"',
    f'url: "http://h", headers: {{A: "Bearer {SECRET}\\n1"}}',
    f'url: "http://h", headers: "Bearer {SECRET}"',
    f'url: "http://h", headers: {{"Bearer {SECRET}"}}',
    f'url: "http://h", headers: {{A: {{env: "{SECRET}"}}}}',
    f'url: "http://h", headers: {{A: {{{SECRET}: x}}}}',
    f'url: "http://h", headers: [{SECRET}]',
    'url: "http://h", timeouts: {connect: "${CRED}"}',
    'url: "${CRED}"',
]


@pytest.mark.parametrize("source", WHERE_SECRETS_STAND)
def test_neither_log_nor_readiness_quote_what_may_be_secret(path: Path, source: str) -> None:
    loaded = config_loader.load(path, {}, CHANNELS)
    log_path = path.parent / "log"
    with log_path.open("w") as log:
        writes, take = Log(lambda: 0.0, fd=log.fileno()), Taking()
        environ = {"CRED": SECRET}
        watching = ConfigWatcher(path, environ, loaded, take, take, writes, 0.0, CHANNELS)
        path.write_text(TEXT.replace('url: "http://127.0.0.1:9"', source))
        watching.look()
    assert watching.mistakes
    assert "sources[0]" in watching.mistakes[0]
    assert SECRET not in str(watching.mistakes)
    assert SECRET not in log_path.read_text()


def test_the_log_quotes_what_is_no_secret_and_readiness_nothing(path: Path) -> None:
    loaded = config_loader.load(path, {}, CHANNELS)
    log_path = path.parent / "log"
    with log_path.open("w") as log:
        watching = watched(path, loaded, Taking(), log.fileno())
        path.write_text(TEXT.replace("action: policy", "action: perhaps"))
        watching.look()
    assert "found `perhaps`" in log_path.read_text()
    assert watching.mistakes == (f"{path}:4:33: governance.defaults.action: not valid",)


def test_a_failure_of_ours_keeps_the_good_one_and_is_told(path: Path) -> None:
    take = Taking()
    loaded = config_loader.load(path, {}, CHANNELS)
    log_path = path.parent / "log"
    with log_path.open("w") as log:
        watching = watched(path, loaded, take, log.fileno())
        take.failing = RuntimeError("a mistake of ours")
        path.write_text(TEXT + "# changed\n")
        watching.look()
        assert watching.mistakes
        take.failing = None
        path.write_text(TEXT + "# changed again\n")
        watching.look()
        assert not watching.mistakes
        assert len(take.taken) == 1
    assert "a mistake of ours" in log_path.read_text()
