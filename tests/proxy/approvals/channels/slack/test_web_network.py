"""How Slack is reached: over TLS, through a proxy or past it."""

from pathlib import Path

import pytest

from tests.harness.authority import Authority
from tests.harness.forward_proxy import FakeForwardProxy
from tests.harness.slack import FakeSlack
from tests.harness.slack_channel import approval, staffed
from tests.harness.wait import run
from thoughtgate_proxy.approvals.channels.channel import AskFailed

HOST = "slack.test"


def test_https_proxy_and_ssl_cert_file_are_honoured(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        authority = Authority(tmp_path / "authority")
        slack = FakeSlack(tls=authority.server(HOST), base_url=f"https://{HOST}")
        async with slack, FakeForwardProxy(slack.port) as proxy:
            environ = {
                "HTTPS_PROXY": f"http://user:p%40ss@127.0.0.1:{proxy.port}",
                "HTTP_PROXY": "http://127.0.0.1:1",
                "SSL_CERT_FILE": str(authority.file),
            }
            async with staffed(slack=_Open(slack), environ=environ) as (_, queue, _):
                await queue.open(approval())
            assert len(slack.workspace.asked()) == 1
            head = proxy.requests[0].decode()
            assert head.startswith(f"CONNECT {HOST}:443 HTTP/1.1\r\n")
            assert "Proxy-Authorization: Basic dXNlcjpwQHNz\r\n" in head

    test()


class _Open:
    """A fake that serves already, to be entered once more."""

    def __init__(self, slack: FakeSlack) -> None:
        self._slack = slack

    async def __aenter__(self) -> FakeSlack:
        return self._slack

    async def __aexit__(self, *_: object) -> None:
        pass


def test_no_proxy_excepts_slack_and_http_has_no_proxy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")  # the library would take these

    @run
    async def test() -> None:
        async with staffed(environ={"HTTPS_PROXY": "http://127.0.0.1:1"}) as (slack, queue, _):
            await queue.open(approval())
            assert slack.workspace.asked()
        authority = Authority(tmp_path / "authority")
        environ = {
            "HTTPS_PROXY": "http://127.0.0.1:1",
            "NO_PROXY": "127.0.0.1",
            "SSL_CERT_FILE": str(authority.file),
        }
        fake = FakeSlack(tls=authority.server("127.0.0.1"))
        async with fake:
            fake.url = fake.url.replace("http:", "https:")
            async with staffed(slack=_Open(fake), environ=environ) as (_, queue, _):
                await queue.open(approval())
                assert fake.workspace.asked()

    test()


def test_a_certificate_of_nobody_known_is_refused_in_words(tmp_path: Path) -> None:
    @run
    async def test() -> None:
        fake = FakeSlack(tls=Authority(tmp_path / "authority").server("127.0.0.1"))
        async with fake:
            fake.url = fake.url.replace("http:", "https:")
            async with staffed(slack=_Open(fake), ask_seconds=0.2) as (_, queue, _):
                with pytest.raises(AskFailed, match="certificate verify failed") as caught:
                    await queue.open(approval())
                assert caught.value.kind == "slack_down"

    test()
