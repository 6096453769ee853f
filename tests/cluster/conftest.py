"""The cluster as a fixture of the whole session, and what to look at when a test of it fails."""

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests.cluster import binaries, control_plane, images, report
from tests.cluster import cluster as real

# With the wait for another cluster's end, and the building of images.
SECONDS_PER_TEST = 900
HERE = Path(__file__).parent

_UNAVAILABLE = pytest.StashKey[str]()
_NO_PROGRAM = pytest.StashKey[str]()


@pytest.fixture(scope="session")
def cluster(pytestconfig: pytest.Config) -> Iterator[real.Cluster]:
    """A real Kubernetes of one node, the same for all tests: take a namespace each."""
    reason = pytestconfig.stash.get(_UNAVAILABLE, "")
    if not reason:
        try:
            with real.running(_say(pytestconfig)) as running:
                yield running
                return
        except real.ClusterUnavailableError as error:
            reason = str(error)
    if os.environ.get("CI") == "true":
        pytest.fail(f"no cluster, and CI=true demands one: {reason}", pytrace=False)
    pytest.skip(f"no cluster: {reason}")


@pytest.fixture(scope="session")
def mcp_image(cluster: real.Cluster) -> str:
    """The image of the sample MCP server and of the agent's client."""
    return cluster.load_image(images.sample(print))


@pytest.fixture(scope="session")
def api_server(pytestconfig: pytest.Config) -> Iterator[real.Cluster]:
    """An API server without a node, the same for all tests, beside a cluster or alone."""
    reason = pytestconfig.stash.get(_NO_PROGRAM, "")
    if not reason:
        with control_plane.running(_say(pytestconfig)) as running:
            yield running
            return
    if os.environ.get("CI") == "true":
        pytest.fail(f"no API server, and CI=true demands one: {reason}", pytrace=False)
    pytest.skip(f"no API server: {reason}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Those in the cluster come last: the quick ones first, then those that need it to be down.

    They are marked, so that those that need no node can run beside them.
    """
    items.sort(key=lambda item: (_is_in_cluster(item), item.path.parent == HERE))
    for item in filter(_is_in_cluster, items):
        item.add_marker(pytest.mark.node)
        if config.pluginmanager.has_plugin("timeout") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SECONDS_PER_TEST))


def pytest_collection_finish(session: pytest.Session) -> None:
    """The first time takes minutes: outside of any test, whose time is limited."""
    if session.config.option.collectonly:
        return
    say, stash = _say(session.config), session.config.stash
    if any(map(_asks_the_api_server, session.items)):
        try:
            binaries.node(say)
        except real.ClusterUnavailableError as error:
            stash[_NO_PROGRAM] = str(error)
    if any(map(_is_in_cluster, session.items)):
        try:
            real.prepare(say)
        except real.ClusterUnavailableError as error:
            stash[_UNAVAILABLE] = str(error)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the cluster's state to a failure, unless the failure brings it along."""
    made = yield
    running = getattr(item, "funcargs", {}).get("cluster")
    is_told = call.excinfo is not None and getattr(call.excinfo.value, "__notes__", None)
    if made.failed and call.when != "teardown" and running is not None and not is_told:
        made.sections.append(("the cluster", report.text(running)))
    return made


def _is_in_cluster(item: pytest.Item) -> bool:
    return "cluster" in getattr(item, "fixturenames", ())


def _asks_the_api_server(item: pytest.Item) -> bool:
    return "api_server" in getattr(item, "fixturenames", ())


def _say(config: pytest.Config) -> Callable[[str], None]:
    """Past pytest's capture: somebody waits and wonders why."""

    def say(text: str) -> None:
        capture = config.pluginmanager.getplugin("capturemanager")
        reporter = config.pluginmanager.getplugin("terminalreporter")
        if capture is None or reporter is None:
            return
        with capture.global_and_fixture_disabled():
            reporter.ensure_newline()
            reporter.write_line(text)

    return say
