"""Who gets at the page: tokens, sessions, other sites' pages, names that point here."""

import asyncio
import contextlib
from collections.abc import Mapping
from pathlib import Path

import aiohttp
import pytest

from tests.harness.page_server import ANNA, BEN, served
from tests.harness.wait import run, soon
from thoughtgate_proxy.approvals.channels.page.tokens import Approvers
from thoughtgate_proxy.listeners.approvals.sessions import Guesses, Sessions

LIST = "/api/v1/approvals"
GUARDED = [
    ("GET", LIST, None),
    ("GET", f"{LIST}/x", None),
    ("POST", f"{LIST}/x/votes", {"verdict": "approve", "digest": ""}),
    ("DELETE", "/api/v1/session", None),
]


class Clock:
    """Time that is set."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """The time."""
        return self.now


@pytest.mark.parametrize(("method", "path", "body"), GUARDED)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer "},
        {"Authorization": f"Basic {ANNA}"},
        {"Authorization": ANNA},
        {"Cookie": "thoughtgate=x", "X-ThoughtGate-Key": "x"},
    ],
)
@run
async def test_nothing_is_given_to_whoever_has_no_token(
    tmp_path: Path, method: str, path: str, body: object, headers: Mapping[str, str]
) -> None:
    async with served(tmp_path) as world:
        await world.open()
        answer = await world.ask(method, path, body, token=None, headers=headers)
    assert (answer.status, answer.json["error"]["code"]) == (401, "unauthorized")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert "delete_user" not in answer.text


@run
async def test_a_session_needs_its_cookie_and_its_key(tmp_path: Path) -> None:
    """The cookie alone goes to every port of localhost, so that it must not be enough."""
    async with served(tmp_path) as world:
        anna, ben = await world.sign_in(), await world.sign_in(BEN)
        assert (await world.ask("GET", LIST, token=None, headers=anna)).json["you"] == "anna"
        for headers in (
            {"Cookie": anna["Cookie"]},
            {"X-ThoughtGate-Key": anna["X-ThoughtGate-Key"]},
            {**anna, "X-ThoughtGate-Key": ben["X-ThoughtGate-Key"]},
            {**anna, "X-ThoughtGate-Key": anna["Cookie"].partition("=")[2]},
        ):
            assert (await world.ask("GET", LIST, token=None, headers=headers)).status == 401


@run
async def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        answer = await world.ask("POST", "/api/v1/session", {"token": ANNA}, token=None)
    cookie = answer.headers["Set-Cookie"]
    for word in ("HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"):
        assert word in cookie
    assert "Domain" not in cookie
    assert ANNA not in cookie + answer.text
    assert answer.json["key"] not in cookie


@run
async def test_a_session_ends_when_its_token_leaves_the_file(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        headers = await world.sign_in()
        world.tokens.write_text(f"anna:another-{ANNA}\nben:{BEN}\n")
        assert (await world.ask("GET", LIST, token=None, headers=headers)).status == 401
        world.tokens.write_text(f"anna:{ANNA}\n")
        # It was closed for good.
        assert (await world.ask("GET", LIST, token=None, headers=headers)).status == 401


@run
async def test_a_view_that_waits_shows_nothing_once_its_token_is_gone(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        headers = await world.sign_in()
        version = (await world.ask("GET", LIST)).json["version"]
        path = f"{LIST}?wait=20&after={version}"
        view = asyncio.create_task(world.ask("GET", path, token=None, headers=headers))
        await asyncio.sleep(0.05)  # long enough to wait; if not, the answer is the same
        world.tokens.write_text(f"ben:{BEN}\n")
        world.page.wake()
        answer = await soon(view, "the end of the view")
    assert answer.status == 401


@run
async def test_signing_out_ends_the_session(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        headers = await world.sign_in()
        answer = await world.ask("DELETE", "/api/v1/session", token=None, headers=headers)
        assert answer.status == 204
        assert "Max-Age=0" in answer.headers["Set-Cookie"]
        assert (await world.ask("GET", LIST, token=None, headers=headers)).status == 401


def test_a_session_lasts_for_a_working_day(tmp_path: Path) -> None:
    clock = Clock()
    (tmp_path / "t").write_text(f"anna:{ANNA}")
    people = Approvers(tmp_path / "t", lambda _: None)
    sessions = Sessions(people, clock)
    anna = people.named(ANNA)
    assert anna is not None
    cookie, key = sessions.open(anna)
    clock.now += 12 * 3600 - 1
    assert sessions.approver(cookie, key) == anna
    clock.now += 1
    assert sessions.approver(cookie, key) is None


def test_guessing_is_slowed_down() -> None:
    clock = Clock()
    guesses = Guesses(clock)
    for _ in range(10):
        assert guesses.wait() == 0
        guesses.wrong()
    assert guesses.wait() == 5.0
    clock.now += 5
    assert guesses.wait() == 0
    guesses.wrong()
    assert guesses.wait() == 5.0
    clock.now += 3600
    for _ in range(10):
        assert guesses.wait() == 0
        guesses.wrong()
    assert guesses.wait() > 0


@run
async def test_who_guesses_gets_no_further_and_ends_no_session(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        headers = await world.sign_in()
        answers = [await world.ask("GET", LIST, token=f"guess-{n}") for n in range(12)]
        assert [answer.status for answer in answers] == [401] * 10 + [429] * 2
        assert 0 < int(answers[-1].headers["Retry-After"]) <= 6
        # Not even the right one is looked at: else a guesser would see the difference.
        assert (await world.ask("GET", LIST)).status == 429
        answer = await world.ask("POST", "/api/v1/session", {"token": ANNA}, token=None)
        assert answer.status == 429
        assert (await world.ask("GET", LIST, token=None, headers=headers)).status == 200
        assert len(world.log.found("a wrong token was tried on the approvals page")) == 10
        assert "guess-" not in str(world.log.lines)


@pytest.mark.parametrize(
    "host",
    [
        "evil.example:7468", "localhost.evil.example", "127.0.0.1.nip.io", "0.0.0.0:7468",
        "127.0.0.2", "[::2]:7468", "localhost:x", "localhost:", "my-agent", "10.0.0.7:7468",
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/", "/main.js", LIST])
@run
async def test_a_name_that_points_here_is_not_ours(tmp_path: Path, host: str, path: str) -> None:
    async with served(tmp_path) as world:
        answer = await world.ask("GET", path, headers={"Host": host})
    assert (answer.status, answer.json["error"]["code"]) == (421, "wrong_host")


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:1", "127.0.0.1:65535", "[::1]:7468", "LOCALHOST:80"]
)
@run
async def test_a_port_forward_may_use_any_port(tmp_path: Path, host: str) -> None:
    async with served(tmp_path) as world:
        headers = {"Host": host, "Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"}
        assert (await world.ask("GET", LIST, headers=headers)).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:1"},
        {"Origin": "https://localhost"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
    ],
)
@run
async def test_another_sites_page_gets_nothing_done(
    tmp_path: Path, headers: Mapping[str, str]
) -> None:
    async with served(tmp_path) as world:
        opened = await world.open()
        session = await world.sign_in()
        answer = await world.vote(opened.id, token=None, headers={**session, **headers})
        assert (answer.status, answer.json["error"]["code"]) == (403, "cross_site")
        answer = await world.ask(
            "POST", "/api/v1/session", {"token": ANNA}, token=None, headers=headers
        )
        assert answer.status == 403
    assert world.queue.votes == []


@run
async def test_every_answer_is_hardened(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        answers = [
            await world.ask("GET", "/"),
            await world.ask("GET", "/main.js", token=None),
            await world.ask("GET", LIST),
            await world.ask("GET", LIST, token=None),
            await world.ask("GET", "/none"),
            await world.ask("HEAD", "/"),
        ]
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Server" not in answer.headers
        assert "Access-Control-Allow-Origin" not in answer.headers


@run
async def test_the_page_is_one_for_everybody_and_takes_nothing_from_elsewhere(
    tmp_path: Path,
) -> None:
    async with served(tmp_path) as world:
        page = await world.ask("GET", "/", token=None)
        files = [await world.ask("GET", path, token=None) for path in ("/page.css", "/main.js")]
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    for answer in (page, *files):
        assert answer.status == 200
        assert "http://" not in answer.text
        assert "https://" not in answer.text
    for word in ("<style", " style=", "onclick=", "javascript:"):
        assert word not in page.text


@run
async def test_idle_connections_take_no_more_than_their_share(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        idle = [await asyncio.open_connection("127.0.0.1", world.port) for _ in range(256)]
        reader, writer = await asyncio.open_connection("127.0.0.1", world.port)
        assert await soon(reader.read(), "the end of one too many") == b""
        for _, other in (*idle, (reader, writer)):
            other.close()

        async def answered() -> None:
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    if (await world.ask("GET", LIST)).status == 200:
                        return

        await soon(answered(), "room again")


@run
async def test_it_listens_on_loopback_of_both_families(tmp_path: Path) -> None:
    async with served(tmp_path) as world:
        for host in ("127.0.0.1", "::1"):
            _, writer = await asyncio.open_connection(host, world.port)
            writer.close()
            await writer.wait_closed()
