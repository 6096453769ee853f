"""The page in a real browser: what an approver sees."""

import re

from playwright.async_api import Page, expect

from tests.harness.page_browser import button, flawless, ready, row, seen, sign_in
from tests.harness.page_server import ANNA, BEN, Served
from thoughtgate_proxy.core.approval import Transition
from thoughtgate_proxy.core.config.values import Workflow

HOSTILE = {
    "html": '<img src=x onerror="alert(1)"><script>alert(2)</script>',
    "quotes": "\"},'`${alert(3)}",
    "bidi": "invoice\u202egpj.exe",
    "zero": "a\u200bb\u2060c",
    "lines": 'one\n}\n"approved": true',
    "long": "w" * 5000,
    "escape": "\x1b[2J\x07",
}


@seen(signed_in=False, expected=("401",))
async def test_a_token_is_entered_once(world: Served, page: Page) -> None:
    await page.goto(world.url)
    await page.get_by_label("Token").fill("not-the-token-of-anybody")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_have_text("This is no approver's token.")
    await page.get_by_label("Token").fill(ANNA)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_text("Nothing waits for a decision")).to_be_visible()
    await page.reload()
    await expect(page.locator("#live-text")).to_have_text("Live · anna")
    # Another window of the same browser is signed in too.
    other = await page.context.new_page()
    await other.goto(world.url)
    await expect(other.locator("#live-text")).to_have_text("Live · anna")
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("Token")).to_be_visible()
    assert await page.evaluate("Object.keys(localStorage)") == []


@seen(signed_in=False)
async def test_a_link_with_a_token_works_in_a_page_that_is_open(world: Served, page: Page) -> None:
    await page.goto(world.url)
    await expect(page.get_by_label("Token")).to_be_visible()
    await sign_in(world, page)
    assert page.url == f"{world.url}/"


@seen()
async def test_a_token_in_the_link_is_removed_at_once(world: Served, page: Page) -> None:
    assert page.url == f"{world.url}/"
    stored = await page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie])")
    assert ANNA not in stored
    assert await page.evaluate("document.cookie") == ""


@seen()
async def test_requests_arrive_live_with_all_that_an_approver_needs(
    world: Served, page: Page
) -> None:
    item = await world.open(lasts=300, description="Deletes a user for good.")
    await expect(row(page, "delete_user")).to_be_visible()
    detail = page.locator("#detail")
    for text in (
        '"user_id": "u-1029"', item.call.principal, "my-namespace", "my-agent-7f9c4", "upstream",
        "Deletes a user for good.", item.asked.reason, item.asked.correlation, item.call.digest,
        "workflow default", "1 approval", "tools/call",
    ):  # fmt: skip
        await expect(detail).to_contain_text(text)
    await expect(detail.locator(".time")).to_have_text(re.compile(r"^(5:00|4:5\d)$"))
    await expect(page).to_have_title("(1) Approvals · my-agent-7f9c4")
    await expect(page.get_by_role("status")).to_have_text("New request: delete_user")
    assert await page.locator("#icon").get_attribute("href") == "/icon-waiting.svg"


@seen()
async def test_hostile_arguments_are_text(world: Served, page: Page) -> None:
    await world.open(
        '<b onclick="alert(4)">tool</b>\u202e', HOSTILE,
        description="<script>alert(5)</script>\n<a href='javascript:alert(6)'>see</a>",
        reason="<i>why</i>", namespace="<u>ns</u>", pod="\u202epod",
    )  # fmt: skip
    await expect(page.locator("#detail-name")).to_have_text('<b onclick="alert(4)">tool</b>\\u202e')
    shown = await page.locator(".exact").inner_text()
    for text in (
        '"<img src=x onerror=\\"alert(1)\\"><script>alert(2)</script>"', "invoice\\u202egpj.exe",
        "a\\u200bb\\u2060c", '"one\\n}\\n\\"approved\\": true"', "w" * 5000, "\\u001b[2J\\u0007",
    ):  # fmt: skip
        assert text in shown
    html = await page.locator("#app").inner_html()
    for tag in ("<img src=x", "<script", "<b ", "<a ", "<i>", "<u>"):
        assert tag not in html
    assert "\u202e" not in html
    # Nothing is wider than the window, however long a word is.
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@seen()
async def test_a_mebibyte_is_shown_to_its_end(world: Served, page: Page) -> None:
    text = "".join(f"{number:06d}-" for number in range(150_000))[: 1 << 20]
    await world.open("write_file", {"text": text, "last": "the end"})
    await expect(page.locator(".exact")).to_contain_text("the end")
    assert text in (await page.locator(".exact").text_content() or "")
    await expect(page.locator(".measure").first).to_contain_text("nothing is cut")
    await ready(page)


@seen()
async def test_what_is_redacted_is_marked_and_a_look_alike_is_not(
    world: Served, page: Page
) -> None:
    world.queue.workflows["default"] = Workflow(adapter="page", redact_fields=("card",))
    await world.open("pay", {"card": "4111", "note": "[redacted]"})
    await expect(page.locator("mark")).to_have_count(1)
    await expect(page.locator("#detail")).to_contain_text("sent all the same: card")
    assert "4111" not in await page.content()


@seen()
async def test_each_end_has_its_own_words(world: Served, page: Page) -> None:
    for step in (Transition.EXPIRE, Transition.CANCEL):
        await world.queue.step((await world.open(step.value)).id, step)
    cut = await world.open("cut")
    await world.vote(cut.id)
    await world.queue.step(cut.id, Transition.SEND)
    await world.queue.step(cut.id, Transition.CUT)
    for name, words in (
        ("expire", "Nobody decided in time"),
        ("cancel", "Cancelled by the agent"),
        ("cut", "may or may not have acted"),
    ):
        await row(page, name).click()
        await expect(page.locator(".standing")).to_contain_text(words)
        await expect(page.locator(".decision")).to_be_hidden()


@seen(expected=("401",))
async def test_a_session_that_ended_asks_for_the_token(world: Served, page: Page) -> None:
    await world.open()
    await ready(page)
    world.tokens.write_text(f"ben:{BEN}\n")
    world.page.wake()
    await expect(page.get_by_label("Token")).to_be_visible()
    await expect(page.get_by_role("alert").first).to_contain_text("The session has ended")
    await expect(page.locator("#app")).to_be_hidden()


@seen()
async def test_the_clock_is_the_pods(world: Served, page: Page) -> None:
    """The browser's clock may be wrong by any amount."""
    world.clock.move(-3000)
    await world.open(lasts=125)
    await expect(page.locator("#detail .time")).to_have_text(re.compile(r"^2:0\d$"))


async def accessible(world: Served, page: Page) -> None:
    """Every state that the page can be in."""
    await page.goto(world.url)
    await expect(page.get_by_label("Token")).to_be_visible()
    await flawless(page)
    await sign_in(world, page)
    for step in (Transition.EXPIRE, Transition.REJECT):
        await world.queue.step((await world.open(step.value)).id, step)
    await world.open(lasts=30, description="Deletes a user for good.")
    await row(page, "delete_user").click()
    await ready(page)
    await flawless(page)
    await page.keyboard.press("r")
    await expect(button(page, "Reject")).to_be_enabled()
    await flawless(page)
    await page.keyboard.press("Escape")
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog")).to_be_visible()
    await flawless(page)


test_nothing_stands_in_the_way_of_a_screen_reader = seen(signed_in=False)(accessible)
test_nor_in_the_dark = seen(signed_in=False, color_scheme="dark")(accessible)


@seen(permissions=["notifications"])
async def test_notifications_are_only_for_those_who_ask(world: Served, page: Page) -> None:
    await page.evaluate(
        "window.told = []; window.Notification = class { static permission = 'granted';"
        " static requestPermission = async () => 'granted';"
        " constructor(title) { told.push(title); } };"
        "Object.defineProperty(document, 'hidden', {get: () => true})"
    )
    await world.open("first")
    await expect(row(page, "first")).to_be_visible()
    assert await page.evaluate("told") == []
    await page.get_by_role("button", name="Notify me").click()
    await expect(page.get_by_role("button", name="Notify me", pressed=True)).to_be_visible()
    await world.open("second")
    await expect(row(page, "second")).to_be_visible()
    assert await page.evaluate("told") == ["Approve second?"]
