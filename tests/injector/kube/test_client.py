"""The client against a server that answers in pieces, late, or not at all."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from kubernetes.aio.config import incluster_config, kube_config

from tests.injector.fake_server import FakeServer
from tests.injector.tls.test_certificates import NOW
from thoughtgate_injector.kube import client
from thoughtgate_injector.kube.client import KubeError
from thoughtgate_injector.tls import certificates

PIECES = [b"on", b"e\n\ntwo\nthr", b"ee\n", b"rest"]


class Pieces(FakeServer):
    """Answers with PIECES, then with nothing; `/status` is a refusal of the API server."""

    def __init__(self) -> None:
        super().__init__()
        self.headers: list[str | None] = []

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.headers.append(request.headers.get("Authorization"))
        if request.path == "/status":
            return web.json_response({"kind": "Status", "message": "no such thing"}, status=404)
        if request.path == "/html":
            return web.Response(text="<html>", status=502, reason="Bad Gateway")
        response = web.StreamResponse()
        await response.prepare(request)
        for piece in PIECES:
            await response.write(piece)
            await asyncio.sleep(0)
        if "wait" in request.query:
            await asyncio.Event().wait()
        return response


@pytest.fixture
def fake() -> Iterator[Pieces]:
    fake = Pieces()
    with fake.listening():
        yield fake


async def lines(fake: Pieces, silence: float = 30.0, **query: str) -> list[bytes]:
    return [line async for line in fake.kube().lines("/lines", query, silence)]


def test_lines_are_put_together_and_one_without_an_end_is_left_out(fake: Pieces) -> None:
    assert fake.run(lines(fake)) == [b"one", b"two", b"three"]


def test_a_watch_that_is_silent_ends(fake: Pieces) -> None:
    with pytest.raises(KubeError, match="the API server does not answer") as caught:
        fake.run(lines(fake, 0.1, wait="1"))
    assert caught.value.status == 0


def test_a_line_without_an_end_is_not_kept_for_ever(
    fake: Pieces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_LONGEST_LINE", 4)
    assert fake.run(lines(fake)) == [b"one", b"two", b"three"]
    monkeypatch.setattr(client, "_LONGEST_LINE", 3)
    with pytest.raises(KubeError, match="a line of more than 3 bytes"):
        fake.run(lines(fake))


@pytest.mark.parametrize(
    ("path", "words"),
    [("/status", "/status: 404 no such thing"), ("/html", "/html: 502 Bad Gateway")],
)
def test_an_answer_of_no_success_is_an_error_with_its_words(
    fake: Pieces, path: str, words: str
) -> None:
    async def watch() -> None:
        async for _ in fake.kube().lines(path, {}, 30):
            pytest.fail("no line was sent")

    for asked in (fake.kube().get(path), watch()):
        with pytest.raises(KubeError) as caught:
            fake.run(asked)
        assert str(caught.value) == words
        assert caught.value.status == int(words.split()[1])


def test_a_pod_uses_its_service_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(KubeError, match="this is no pod with a service account"):
        client.in_cluster()
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    for name in ("TOKEN", "CERT"):
        monkeypatch.setattr(incluster_config, f"SERVICE_{name}_FILENAME", str(tmp_path / name))
    (tmp_path / "TOKEN").write_text("abc")
    (tmp_path / "CERT").write_bytes(certificates.new_authority(NOW).pem())

    async def asked() -> None:
        kube = client.in_cluster()
        access = await kube.access()
        assert (access.server, access.token) == ("https://[::1]:443", "abc")
        assert access.ca_path == str(tmp_path / "CERT")
        await kube.close()

    asyncio.run(asked())


def test_outside_of_a_pod_the_kubeconfig_is_used(
    fake: Pieces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "config"))
    with pytest.raises(KubeError, match="no kubeconfig can be used"):
        asyncio.run(client.by_kubeconfig(None))
    config = {
        "clusters": [{"name": "c", "cluster": {"server": fake.url}}],
        "users": [{"name": name, "user": {"token": name}} for name in ("one", "two")],
        "contexts": [
            {"name": name, "context": {"cluster": "c", "user": name}} for name in ("one", "two")
        ],
        "current-context": "one",
    }
    (tmp_path / "config").write_text(yaml.safe_dump(config))

    async def asked() -> None:
        for context in (None, "two"):
            kube = await client.by_kubeconfig(context)
            await kube.get("/lines")
            await kube.close()

    fake.run(asked())
    assert fake.headers == ["Bearer one", "Bearer two"]
