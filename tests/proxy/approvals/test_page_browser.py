"""The page in a real browser: what an approver sees, presses and is kept from."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, expect

from tests.awaiting import within
from tests.proxy.approvals import browser
from tests.proxy.approvals.serving import ANNA, BEN, Served, served
from thoughtgate_proxy.core.approval import State, Step
from thoughtgate_proxy.core.config.values import Adapter, Workflow

# The first of them may have to install the browser.
pytestmark = pytest.mark.timeout(300)

Test = Callable[[Served, Page], Awaitable[None]]

HOSTILE = {
    "html": '<img src=x onerror="alert(1)"><script>alert(2)</script>',
    "quotes": "\"},'`${alert(3)}",
    "bidi": "invoice\u202egpj.exe",
    "zero": "a\u200bb\u2060c",
    "lines": 'one\n}\n"approved": true',
    "long": "w" * 5000,
    "escape": "\x1b[2J\x07",
}


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


@pytest.fixture(scope="module")
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
    item = await world.docket.open(lasts=300, description="Deletes a user for good.")
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
async def test_a_request_is_approved_by_keyboard(world: Served, page: Page) -> None:
    await world.docket.open("first")
    second = await world.docket.open("second")
    await expect(row(page, "second")).to_be_visible()
    await page.keyboard.press("j")
    await expect(page.locator("#detail-name")).to_have_text("second")
    await ready(page)
    await page.keyboard.press("a")
    await expect(page.locator(".standing")).to_contain_text("Approved by anna")
    (vote,) = world.docket.votes
    assert (vote.approver, vote.verdict) == ("anna", "approve")
    assert world.docket.kept[second.id].state is State.APPROVED
    await page.keyboard.press("k")
    await expect(page.locator("#detail-name")).to_have_text("first")


@seen()
async def test_a_request_is_rejected_with_a_reason(world: Served, page: Page) -> None:
    item = await world.docket.open()
    await ready(page)
    await page.keyboard.press("r")
    await page.keyboard.type("ask for one account at a time")
    await expect(button(page, "Reject")).to_be_enabled()
    await page.keyboard.press("Enter")
    await expect(page.locator(".standing")).to_contain_text("Rejected by anna")
    await expect(page.locator(".votes")).to_contain_text("ask for one account at a time")
    assert world.docket.kept[item.id].reason == "ask for one account at a time"


@seen()
async def test_buttons_do_the_same(world: Served, page: Page) -> None:
    item = await world.docket.open("first")
    other = await world.docket.open("second")
    await ready(page)
    await button(page, "Approve").click()
    await expect(page.locator(".standing")).to_contain_text("Approved by anna")
    await row(page, "second").click()
    await ready(page)
    await button(page, "Reject…").click()
    await page.get_by_label("Why not?").fill("no")
    await button(page, "Reject").click()
    await expect(page.locator(".standing")).to_contain_text("Rejected by anna")
    kept = world.docket.kept
    assert (kept[item.id].state, kept[other.id].state) == (State.APPROVED, State.REJECTED)


@seen()
async def test_a_reason_is_not_lost_while_the_list_changes(world: Served, page: Page) -> None:
    await world.docket.open("first")
    await ready(page)
    await page.keyboard.press("r")
    await page.keyboard.type("half a rea")
    await world.docket.open("second")
    await expect(row(page, "second")).to_be_visible()
    await page.keyboard.type("son, a j and an r")
    await expect(page.get_by_label("Why not?")).to_have_value("half a reason, a j and an r")
    await page.keyboard.press("Escape")
    await ready(page)
    assert world.docket.votes == []


@seen()
async def test_focus_stays_while_the_list_changes(world: Served, page: Page) -> None:
    first = await world.docket.open("first")
    await world.docket.open("second")
    await expect(row(page, "second")).to_be_visible()
    await row(page, "first").focus()
    await world.docket.open("third")
    await expect(row(page, "third")).to_be_visible()
    await expect(row(page, "first")).to_be_focused()
    # It goes to the other list, and the focus with it.
    await world.docket.step(first.id, Step.CANCEL)
    await expect(page.locator("#recent")).to_contain_text("first")
    await expect(row(page, "first")).to_be_focused()
    await page.keyboard.press("ArrowUp")
    await expect(row(page, "third")).to_be_focused()


@seen()
async def test_nothing_is_decided_twice_by_a_list_that_shifts(world: Served, page: Page) -> None:
    items = [await world.docket.open(name) for name in ("first", "second", "third")]
    await expect(row(page, "third")).to_be_visible()
    await ready(page)
    box = await button(page, "Approve").bounding_box()
    assert box is not None
    at = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    await page.mouse.dblclick(*at)
    await page.keyboard.press("a")
    await page.keyboard.press("a")
    await expect(page.locator(".standing")).to_contain_text("Approved by anna")
    # The call goes and its row leaves the list: what is shown stays what was chosen.
    await world.docket.step(items[0].id, Step.SEND)
    await world.docket.step(items[0].id, Step.FINISH)
    await expect(page.locator(".standing")).to_contain_text("and sent")
    await page.mouse.dblclick(*at)
    await page.keyboard.press("a")
    await expect(page.locator("#detail-name")).to_have_text("first")
    assert len(world.docket.votes) == 1


@seen()
async def test_a_key_that_was_meant_for_another_request_decides_nothing(
    world: Served, page: Page
) -> None:
    await world.docket.open("first")
    await world.docket.open("second")
    await expect(row(page, "second")).to_be_visible()
    for name in ("second", "first"):
        await row(page, name).click()
        await expect(page.locator("#detail-name")).to_have_text(name)
        await ready(page)
    # Both by the browser's own clock, which a slow machine cannot put out of order.
    await page.evaluate(
        "const press = (key) => document.body.dispatchEvent("
        "new KeyboardEvent('keydown', {key, bubbles: true}));"
        "press('j'); new Promise((done) => setTimeout(() => done(press('a')), 100))"
    )
    await expect(page.locator("#detail-name")).to_have_text("second")
    await ready(page)
    assert world.docket.votes == []


@seen()
async def test_a_key_that_is_held_down_decides_nothing(world: Served, page: Page) -> None:
    await world.docket.open()
    await ready(page)
    for modifier in ("Control", "Alt", "Meta"):
        await page.keyboard.press(f"{modifier}+r")
        await page.keyboard.press(f"{modifier}+a")
    await page.evaluate(
        "document.body.dispatchEvent(new KeyboardEvent('keydown',"
        " {key: 'a', repeat: true, bubbles: true}))"
    )
    assert world.docket.votes == []
    await expect(page.locator(".standing")).to_contain_text("Waiting")


@seen()
async def test_hostile_arguments_are_text(world: Served, page: Page) -> None:
    await world.docket.open(
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
    await world.docket.open("write_file", {"text": text, "last": "the end"})
    await expect(page.locator(".exact")).to_contain_text("the end", timeout=20_000)
    assert text in (await page.locator(".exact").text_content() or "")
    await expect(page.locator(".measure").first).to_contain_text("nothing is cut")
    await ready(page)


@seen()
async def test_what_is_redacted_is_marked_and_a_look_alike_is_not(
    world: Served, page: Page
) -> None:
    world.docket.workflows["default"] = Workflow(adapter=Adapter.PAGE, redact_fields=("card",))
    await world.docket.open("pay", {"card": "4111", "note": "[redacted]"})
    await expect(page.locator("mark")).to_have_count(1)
    await expect(page.locator("#detail")).to_contain_text("sent all the same: card")
    assert "4111" not in await page.content()


@seen()
async def test_two_approvals_are_counted_in_sight(world: Served, page: Page) -> None:
    world.docket.workflows["default"] = Workflow(
        adapter=Adapter.PAGE, required=2, approvers=("anna", "ben")
    )
    item = await world.docket.open(required=2)
    await ready(page)
    await expect(page.locator(".standing")).to_have_text("0 of 2 approvals.")
    await page.keyboard.press("a")
    await expect(page.locator(".standing")).to_have_text("1 of 2 approvals.")
    await expect(button(page, "Approve")).to_be_hidden()
    await expect(page.locator(".votes")).to_contain_text("anna approved")
    await world.vote(item.id, token=BEN)
    await expect(page.locator(".standing")).to_contain_text("Approved by anna, ben")
    await expect(page.locator(".votes")).to_contain_text("ben approved")


@seen()
async def test_who_may_not_decide_is_told_why(world: Served, page: Page) -> None:
    world.docket.workflows["default"] = Workflow(adapter=Adapter.PAGE, approvers=("ben",))
    await world.docket.open()
    await expect(page.locator(".told")).to_contain_text("only the listed approvers of `default`")
    await expect(button(page, "Approve")).to_be_hidden()
    await page.keyboard.press("a")
    assert world.docket.votes == []


@seen()
async def test_each_end_has_its_own_words(world: Served, page: Page) -> None:
    for step in (Step.EXPIRE, Step.CANCEL):
        await world.docket.step((await world.docket.open(step.value)).id, step)
    cut = await world.docket.open("cut")
    await world.vote(cut.id)
    await world.docket.step(cut.id, Step.SEND)
    await world.docket.step(cut.id, Step.CUT)
    for name, words in (
        ("expire", "Nobody decided in time"),
        ("cancel", "Cancelled by the agent"),
        ("cut", "may or may not have acted"),
    ):
        await row(page, name).click()
        await expect(page.locator(".standing")).to_contain_text(words)
        await expect(page.locator(".decision")).to_be_hidden()


@seen(viewport=browser.PHONE, has_touch=True, is_mobile=True)
async def test_a_phone_has_one_thing_at_a_time(world: Served, page: Page) -> None:
    item = await world.docket.open("pay", {"to": "x" * 300, "amount": 12})
    await expect(row(page, "pay")).to_be_visible()
    await expect(page.locator("#detail")).to_be_hidden()
    await row(page, "pay").tap()
    await expect(row(page, "pay")).to_be_hidden()
    await ready(page)
    for name in ("Approve", "Reject…"):
        box = await button(page, name).bounding_box()
        assert box is not None
        assert box["height"] >= 44
        assert box["y"] + box["height"] <= browser.PHONE["height"]
        assert box["x"] + box["width"] <= browser.PHONE["width"]
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.go_back()
    await expect(row(page, "pay")).to_be_visible()
    await row(page, "pay").tap()
    await ready(page)
    await button(page, "Approve").tap()
    await expect(page.locator(".standing")).to_contain_text("Approved by anna")
    await page.get_by_role("button", name="All requests").tap()
    await expect(row(page, "pay")).to_be_visible()
    assert world.docket.kept[item.id].state is State.APPROVED


@seen(expected=("ERR_CONNECTION_REFUSED", "ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET"))
async def test_a_lost_connection_is_said_and_nothing_can_be_pressed(
    world: Served, page: Page
) -> None:
    await world.docket.open()
    await ready(page)
    await world.inbound.close()
    await expect(page.get_by_role("alert").first).to_contain_text("No connection to the pod")
    await expect(button(page, "Approve")).to_be_disabled()
    await page.keyboard.press("a")
    assert world.docket.votes == []


@seen(expected=("401",))
async def test_a_session_that_ended_asks_for_the_token(world: Served, page: Page) -> None:
    await world.docket.open()
    await ready(page)
    world.tokens.write_text(f"ben:{BEN}\n")
    world.page.wake()
    await expect(page.get_by_label("Token")).to_be_visible()
    await expect(page.get_by_role("alert").first).to_contain_text("The session has ended")
    await expect(page.locator("#app")).to_be_hidden()


@seen()
async def test_the_clock_is_the_pods(world: Served, page: Page) -> None:
    """The browser's clock may be wrong by any amount."""
    world.docket.now -= 3000
    await world.docket.open(lasts=125)
    await expect(page.locator("#detail .time")).to_have_text(re.compile(r"^2:0\d$"))


async def accessible(world: Served, page: Page) -> None:
    """Every state that the page can be in."""
    await page.goto(world.url)
    await expect(page.get_by_label("Token")).to_be_visible()
    await flawless(page)
    await sign_in(world, page)
    for step in (Step.EXPIRE, Step.REJECT):
        await world.docket.step((await world.docket.open(step.value)).id, step)
    await world.docket.open(lasts=30, description="Deletes a user for good.")
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


async def flawless(page: Page) -> None:
    """axe finds nothing: labels, roles, contrast."""
    result = await Axe().run(page)
    assert result.violations_count == 0, result.generate_report()


@seen(permissions=["notifications"])
async def test_notifications_are_only_for_those_who_ask(world: Served, page: Page) -> None:
    await page.evaluate(
        "window.told = []; window.Notification = class { static permission = 'granted';"
        " static requestPermission = async () => 'granted';"
        " constructor(title) { told.push(title); } };"
        "Object.defineProperty(document, 'hidden', {get: () => true})"
    )
    await world.docket.open("first")
    await expect(row(page, "first")).to_be_visible()
    assert await page.evaluate("told") == []
    await page.get_by_role("button", name="Notify me").click()
    await expect(page.get_by_role("button", name="Notify me", pressed=True)).to_be_visible()
    await world.docket.open("second")
    await expect(row(page, "second")).to_be_visible()
    assert await page.evaluate("told") == ["Approve second?"]


@seen(expected=("409",))
async def test_a_vote_that_does_not_count_says_so(world: Served, page: Page) -> None:
    item = await world.docket.open()
    await ready(page)
    # Another's word came first, and the news of it is still under way.
    world.docket.asking = None
    await world.docket.step(item.id, Step.EXPIRE)
    await page.keyboard.press("a")
    await expect(page.locator(".decision").get_by_role("alert")).to_contain_text(
        "Not counted: too late"
    )
    await within(lambda: world.docket.votes == [], "no vote")
