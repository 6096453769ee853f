"""`make screenshots`: the pictures of the approvals page in docs/images/, made anew."""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.async_api import Page, expect

from tests.harness import browser
from tests.harness.page_server import ANNA, BEN, Served, served
from thoughtgate_proxy.core.approval import Transition
from thoughtgate_proxy.core.config.values import Workflow

IMAGES = Path(__file__).parents[4] / "docs" / "images"
TRANSFER: dict[str, Any] = {
    "from": "DE02 1203 0000 0000 2020 51",
    "to": "GB33 BUKB 2020 1555 5555 55",
    "amount": 12500,
    "currency": "EUR",
    "memo": "Invoice 2291 \u202efdp.exe",
    "card": {"number": "4111 1111 1111 1111", "holder": "A. Mays"},
}
# Fonts like those that people have, in place of the one that a bare Debian falls back to.
FONTS = "document.documentElement.style.setProperty('--sans', 'Inter')"


async def fill(world: Served) -> None:
    """Some requests, as a day brings them."""
    world.queue.workflows["payments"] = Workflow(
        adapter="page", approvers=("anna", "ben"), required=2, redact_fields=("card.number",)
    )
    why = "rule 2 (`transfer_*`) asks for approval"
    await world.open(lasts=47, reason="rule 0 (`delete_*`) asks for approval")
    asked = await world.open(
        "transfer_funds", TRANSFER, workflow="payments", required=2, lasts=1512, rule=2,
        match="transfer_*", reason=why, description="Moves money between two accounts.",
    )  # fmt: skip
    await world.open("drop_table", {"table": "customers", "cascade": True})
    done = await world.open("delete_file", {"path": "/srv/reports/2026-10.csv"})
    await world.vote(done.id)
    for step in (Transition.SEND, Transition.FINISH):
        await world.queue.step(done.id, step)
    refused = await world.open("delete_user", {"user_id": "root"})
    body = {"verdict": "reject", "digest": refused.call.digest, "reason": "root must stay"}
    await world.ask("POST", f"/api/v1/approvals/{refused.id}/votes", body)
    late = await world.open("delete_branch", {"branch": "main"})
    await world.queue.step(late.id, Transition.EXPIRE)
    await world.vote(asked.id, token=BEN)


async def shoot(page: Page, world: Served, name: str) -> None:
    """One picture of the transfer."""
    await page.goto(f"{world.url}/#token={ANNA}")
    await page.locator("#list").get_by_role("button", name="transfer_funds").click()
    await expect(page.locator(".decision").get_by_role("button", name="Approve")).to_be_enabled()
    await page.evaluate(FONTS)
    await page.screenshot(path=IMAGES / f"{name}.png")


async def main() -> int:
    """Make all pictures."""
    IMAGES.mkdir(exist_ok=True)
    complaints: list[str] = []
    wide = {"viewport": {"width": 1120, "height": 700}}
    phone = {"viewport": browser.PHONE, "is_mobile": True, "has_touch": True}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with served(folder) as world, browser.browser() as chromium:
            await fill(world)
            for picture, options in (
                ("approvals", wide),
                ("approvals-phone", phone),
            ):
                async with browser.window(chromium, complaints, **options) as page:
                    await shoot(page, world, picture)
    print("\n".join(complaints), file=sys.stderr)
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
