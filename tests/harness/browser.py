"""A headless Chromium, installed if it is not there, and a page of it that forgives nothing."""

import contextlib
import functools
import os
import shutil
from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright, expect

from tests.cluster import packages
from tests.cluster.commands import ClusterUnavailableError
from tests.harness.wait import LIMIT

PACKAGE = "chromium-headless-shell"
PROGRAMS = (PACKAGE, "chromium", "chromium-browser", "google-chrome")
WIDE = {"width": 1280, "height": 800}
PHONE = {"width": 390, "height": 844}


class Unavailable(Exception):
    """There is no browser, and none can be installed; says why."""


@functools.cache
def program() -> str:
    """The browser's path; Debian's package is installed where that can be. Raises `Unavailable`."""
    if found := _installed():
        return found
    if os.geteuid() != 0:
        raise Unavailable(f"no `{PACKAGE}`, and only root could install it")
    try:
        packages.require({PACKAGE: PACKAGE}, print)
    except ClusterUnavailableError as error:
        raise Unavailable(str(error)) from error
    found = _installed()
    assert found, "installed, and yet not there"
    return found


def _installed() -> str | None:
    return next(filter(None, map(shutil.which, PROGRAMS)), None)


def required() -> None:
    """Skip the test where no browser can be had; in CI that is a failure."""
    try:
        program()
    except Unavailable as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have a browser: {error}")
        pytest.skip(str(error))


@contextlib.asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """A browser of our own."""
    async with async_playwright() as playwright:
        opened = await playwright.chromium.launch(executable_path=program())
        try:
            yield opened
        finally:
            await opened.close()


@contextlib.asynccontextmanager
async def window(opened: Browser, complaints: list[str], **options: Any) -> AsyncIterator[Page]:
    """A fresh profile's page; `complaints` gets what the console and the scripts complain of."""
    context = await opened.new_context(**{"viewport": WIDE, **options})
    context.set_default_timeout(LIMIT * 1000)
    expect.set_options(timeout=LIMIT * 1000)
    # Policy violations are events before they are lines of the console.
    await context.add_init_script(
        "addEventListener('securitypolicyviolation',"
        " (e) => console.error('violates', e.violatedDirective, e.blockedURI))"
    )
    page = await context.new_page()

    def said(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            complaints.append(f"{message.type}: {message.text}")

    page.on("console", said)
    page.on("pageerror", lambda error: complaints.append(f"script: {error}"))
    page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
    try:
        yield page
    finally:
        await context.close()
