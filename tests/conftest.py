"""Which tests share something that is there once: they run one after another, in one process."""

import os
from pathlib import Path

import pytest

# By the fixture that they ask for; the longest first, as the others can run beside them.
_SHARED = {"cluster": "cluster", "api_server": "api server", "packages": "conformance"}
_CLUSTER = Path(__file__).parent / "cluster"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Name each test's group for pytest-xdist, which keeps a group together."""
    for item in items:
        if (group := _group(item)) is not None:
            item.add_marker(pytest.mark.xdist_group(group))
    if "PYTEST_XDIST_WORKER" in os.environ:
        order = list(_SHARED.values())
        items.sort(key=lambda item: order.index(_group(item) or order[-1]))
        items.sort(key=lambda item: _group(item) is None)


def _group(item: pytest.Item) -> str | None:
    wanted = getattr(item, "fixturenames", ())
    for fixture, group in _SHARED.items():
        if fixture in wanted:
            return group
    # The others there count what those before them found, or bring clusters up and down.
    return "cluster" if _CLUSTER in item.path.parents else None
