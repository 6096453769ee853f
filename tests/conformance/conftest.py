"""One world for all tests of conformance."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from tests.conformance.measured import Measured
from tests.conformance.packages import Node, Unavailable, node
from tests.conformance.world import World, opened


@pytest.fixture(scope="session")
def packages() -> Node:
    """Node and what npm brings; where they cannot be had there is nothing to test."""
    try:
        return node()
    except Unavailable as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have node and the packages: {error}")
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def world(packages: Node, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """All servers and proxies, for the whole of the session."""
    with asyncio.Runner() as runner:
        opening = opened(packages, tmp_path_factory.mktemp("conformance"))
        servers = runner.run(opening.__aenter__())
        try:
            yield World(packages, runner, servers)
        finally:
            runner.run(opening.__aexit__(None, None, None))


@pytest.fixture(scope="session")
def measured(world: World) -> Measured:
    """All results, each made when it is first asked for."""
    return Measured(world)
