"""The page in a real browser: what an approver presses, and is kept from."""

from playwright.async_api import Page, expect

from tests.harness import browser
from tests.harness.page_browser import button, ready, row, seen
from tests.harness.page_server import BEN, Served
from tests.harness.wait import within
from thoughtgate_proxy.core.approval import State, Transition
from thoughtgate_proxy.core.config.values import Workflow


@seen()
async def test_a_request_is_approved_by_keyboard(world: Served, page: Page) -> None:
    await world.open("first")
    second = await world.open("second")
    await expect(row(page, "second")).to_be_visible()
    await page.keyboard.press("j")
    await expect(page.locator("#detail-name")).to_have_text("second")
    await ready(page)
    await page.keyboard.press("a")
    await expect(page.locator(".standing")).to_contain_text("Approved by anna")
    (vote,) = world.queue.votes
    assert (vote.approver, vote.verdict) == ("anna", "approve")
    assert world.queue.get(second.id).state is State.APPROVED
    await page.keyboard.press("k")
    await expect(page.locator("#detail-name")).to_have_text("first")


@seen()
async def test_a_request_is_rejected_with_a_reason(world: Served, page: Page) -> None:
    item = await world.open()
    await ready(page)
    await page.keyboard.press("r")
    await page.keyboard.type("ask for one account at a time")
    await expect(button(page, "Reject")).to_be_enabled()
    await page.keyboard.press("Enter")
    await expect(page.locator(".standing")).to_contain_text("Rejected by anna")
    await expect(page.locator(".votes")).to_contain_text("ask for one account at a time")
    assert world.queue.get(item.id).reason == "ask for one account at a time"


@seen()
async def test_buttons_do_the_same(world: Served, page: Page) -> None:
    item = await world.open("first")
    other = await world.open("second")
    await ready(page)
    await button(page, "Approve").click()
    await expect(page.locator(".standing")).to_contain_text("Approved by anna")
    await row(page, "second").click()
    await ready(page)
    await button(page, "Reject…").click()
    await page.get_by_label("Why not?").fill("no")
    await button(page, "Reject").click()
    await expect(page.locator(".standing")).to_contain_text("Rejected by anna")
    get = world.queue.get
    assert (get(item.id).state, get(other.id).state) == (State.APPROVED, State.REJECTED)


@seen()
async def test_a_reason_is_not_lost_while_the_list_changes(world: Served, page: Page) -> None:
    await world.open("first")
    await ready(page)
    await page.keyboard.press("r")
    await page.keyboard.type("half a rea")
    await world.open("second")
    await expect(row(page, "second")).to_be_visible()
    await page.keyboard.type("son, a j and an r")
    await expect(page.get_by_label("Why not?")).to_have_value("half a reason, a j and an r")
    await page.keyboard.press("Escape")
    await ready(page)
    assert world.queue.votes == []


@seen()
async def test_focus_stays_while_the_list_changes(world: Served, page: Page) -> None:
    first = await world.open("first")
    await world.open("second")
    await expect(row(page, "second")).to_be_visible()
    await row(page, "first").focus()
    await world.open("third")
    await expect(row(page, "third")).to_be_visible()
    await expect(row(page, "first")).to_be_focused()
    # It goes to the other list, and the focus with it.
    await world.queue.step(first.id, Transition.CANCEL)
    await expect(page.locator("#recent")).to_contain_text("first")
    await expect(row(page, "first")).to_be_focused()
    await page.keyboard.press("ArrowUp")
    await expect(row(page, "third")).to_be_focused()


@seen()
async def test_nothing_is_decided_twice_by_a_list_that_shifts(world: Served, page: Page) -> None:
    items = [await world.open(name) for name in ("first", "second", "third")]
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
    await world.queue.step(items[0].id, Transition.SEND)
    await world.queue.step(items[0].id, Transition.FINISH)
    await expect(page.locator(".standing")).to_contain_text("and sent")
    await page.mouse.dblclick(*at)
    await page.keyboard.press("a")
    await expect(page.locator("#detail-name")).to_have_text("first")
    assert len(world.queue.votes) == 1


@seen()
async def test_a_key_that_was_meant_for_another_request_decides_nothing(
    world: Served, page: Page
) -> None:
    await world.open("first")
    await world.open("second")
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
    assert world.queue.votes == []


@seen()
async def test_a_key_that_is_held_down_decides_nothing(world: Served, page: Page) -> None:
    await world.open()
    await ready(page)
    for modifier in ("Control", "Alt", "Meta"):
        await page.keyboard.press(f"{modifier}+r")
        await page.keyboard.press(f"{modifier}+a")
    await page.evaluate(
        "document.body.dispatchEvent(new KeyboardEvent('keydown',"
        " {key: 'a', repeat: true, bubbles: true}))"
    )
    assert world.queue.votes == []
    await expect(page.locator(".standing")).to_contain_text("Waiting")


@seen()
async def test_two_approvals_are_counted_in_sight(world: Served, page: Page) -> None:
    world.queue.workflows["default"] = Workflow(
        adapter="page", required=2, approvers=("anna", "ben")
    )
    item = await world.open(required=2)
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
    world.queue.workflows["default"] = Workflow(adapter="page", approvers=("ben",))
    await world.open()
    await expect(page.locator(".told")).to_contain_text("only the listed approvers of `default`")
    await expect(button(page, "Approve")).to_be_hidden()
    await page.keyboard.press("a")
    assert world.queue.votes == []


@seen(viewport=browser.PHONE, has_touch=True, is_mobile=True)
async def test_a_phone_has_one_thing_at_a_time(world: Served, page: Page) -> None:
    item = await world.open("pay", {"to": "x" * 300, "amount": 12})
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
    assert world.queue.get(item.id).state is State.APPROVED


@seen(expected=("ERR_CONNECTION_REFUSED", "ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET"))
async def test_a_lost_connection_is_said_and_nothing_can_be_pressed(
    world: Served, page: Page
) -> None:
    await world.open()
    await ready(page)
    await world.inbound.close()
    await expect(page.get_by_role("alert").first).to_contain_text("No connection to the pod")
    await expect(button(page, "Approve")).to_be_disabled()
    await page.keyboard.press("a")
    assert world.queue.votes == []


@seen(expected=("409",))
async def test_a_vote_that_does_not_count_says_so(world: Served, page: Page) -> None:
    item = await world.open()
    await ready(page)
    # Another's word came first, and the news of it is still under way.
    world.queue.attach(None)
    await world.queue.step(item.id, Transition.EXPIRE)
    await page.keyboard.press("a")
    await expect(page.locator(".decision").get_by_role("alert")).to_contain_text(
        "Not counted: too late"
    )
    await within(lambda: world.queue.votes == [], "no vote")
