"""One browser for all tests of the page."""

import asyncio
from collections.abc import Iterator

import pytest

from tests.harness import browser
from tests.harness.page_browser import Chromium


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """The browser; the tests are skipped where there is none."""
    browser.required()
    with asyncio.Runner() as runner:
        opening = browser.browser()
        opened = runner.run(opening.__aenter__())
        try:
            yield Chromium(runner, opened)
        finally:
            runner.run(opening.__aexit__(None, None, None))
