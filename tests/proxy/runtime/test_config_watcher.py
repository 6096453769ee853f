"""The kill switch must not die: whatever happens while reloading, the next version is looked at."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from thoughtgate_proxy.approvals.channels.catalog import CHANNELS
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
    return ConfigWatcher(path, {}, loaded, take, Log(lambda: 0.0, fd=fd), 0.0, CHANNELS)


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
        ConfigWatcher(path, {}, loaded, take, writes, 1_000_000_001.0, CHANNELS).look()
        assert not take.taken
        ConfigWatcher(path, {}, loaded, take, writes, 1_000_000_000.0, CHANNELS).look()
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
