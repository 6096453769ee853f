"""Tests of the page in a browser: signed in, with a pod of their own, and a silent console."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from tests.harness import browser
from tests.harness.page_server import ANNA, Served, served

Test = Callable[[Served, Page], Awaitable[None]]


class Chromium:
    """One browser for all tests of this module, and the event loop that it lives in."""

    def __init__(self, runner: asyncio.Runner, browser: Browser) -> None:
        self.runner, self.browser = runner, browser

    def run(self, folder: Path, test: Test, *, expected: tuple[str, ...], **options: Any) -> None:
        """Run a test with a page that is not yet signed in, and a pod of its own.

        The console must stay silent but for lines with one of `expected` in them.
        """

        async def body() -> None:
            complaints: list[str] = []
            async with (
                served(folder) as world,
                browser.window(self.browser, complaints, **options) as page,
            ):
                await test(world, page)
            left = [line for line in complaints if not any(word in line for word in expected)]
            assert not left, left

        self.runner.run(body())


def seen(
    *, signed_in: bool = True, expected: tuple[str, ...] = (), **options: Any
) -> Callable[[Test], Callable[[Chromium, Path], None]]:
    """A test of a page, signed in as anna if not told otherwise."""

    def decorate(test: Test) -> Callable[[Chromium, Path], None]:
        async def body(world: Served, page: Page) -> None:
            if signed_in:
                await sign_in(world, page)
            await test(world, page)

        # Not functools.wraps: pytest must see this signature, and no other.
        def plain(chromium: Chromium, tmp_path: Path) -> None:
            chromium.run(tmp_path, body, expected=expected, **options)

        plain.__doc__ = test.__doc__
        return plain

    return decorate


async def sign_in(world: Served, page: Page) -> None:
    """By the one-time link, as the demo prints it."""
    await page.goto(f"{world.url}/#token={ANNA}")
    await expect(page.locator("#live-text")).to_have_text("Live · anna")


def row(page: Page, name: str) -> Any:
    """The row of a request in the list."""
    return page.locator("#list").get_by_role("button", name=re.compile(rf"^{name}"))


def button(page: Page, name: str) -> Any:
    """A button of the detail's decision."""
    return page.locator(".decision").get_by_role("button", name=name)


async def ready(page: Page) -> None:
    """Wait until the shown request may be decided."""
    await expect(button(page, "Reject…")).to_be_enabled()


async def flawless(page: Page) -> None:
    """axe finds nothing: labels, roles, contrast."""
    result = await Axe().run(page)
    assert result.violations_count == 0, result.generate_report()
