"""Replicas agree on one CA, serve fresh leaves, and put the caBundle back."""

import asyncio
import base64
import datetime as dt
from collections.abc import Iterator

import pytest

from tests.injector.fake_cluster import FakeCluster
from thoughtgate_injector import certificates, trust
from thoughtgate_injector.cluster import ClusterError
from thoughtgate_injector.core import names
from thoughtgate_injector.trust import Trust

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> dt.datetime:
        return self.now


@pytest.fixture
def fake() -> Iterator[FakeCluster]:
    with FakeCluster().listening() as fake:
        yield fake


def replica(fake: FakeCluster, clock: Clock, ends: dict[str, dt.datetime] | None = None) -> Trust:
    ends = {} if ends is None else ends
    return Trust(fake.cluster(), ["x.svc"], clock, ends.__setitem__)


async def kept_once(one: Trust) -> None:
    """Let a replica look after its trust until all is in place once."""
    done = asyncio.Event()
    task = asyncio.create_task(one.keep(done.set))
    await done.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def secret_ca(fake: FakeCluster) -> bytes:
    return base64.b64decode(fake.secrets[names.CA_SECRET]["data"]["ca.crt"])


def test_replicas_that_start_at_once_agree(fake: FakeCluster) -> None:
    async def start() -> None:
        replicas = [replica(fake, Clock()) for _ in range(4)]
        await asyncio.gather(*(one.serve() for one in replicas))
        await asyncio.gather(*(kept_once(one) for one in replicas))

    asyncio.run(start())
    assert {base64.b64decode(bundle or "") for bundle in fake.bundles()} == {secret_ca(fake)}


def test_whoever_creates_second_takes_what_is_there(fake: FakeCluster) -> None:
    other = certificates.new_authority(START)

    cluster = fake.cluster()
    assert cluster.read_ca() is None
    assert cluster.create_ca(other.data())
    assert not cluster.create_ca(certificates.new_authority(START).data())
    assert cluster.read_ca() == other.data()


def test_the_bundle_is_written_once_and_put_back_when_it_is_gone(fake: FakeCluster) -> None:
    async def keep() -> None:
        one = replica(fake, Clock())
        await one.serve()
        await kept_once(one)
        await kept_once(one)

    asyncio.run(keep())
    patches = [count for key, count in fake.requests.items() if key.startswith("PATCH")]
    assert patches == [1]
    assert fake.webhook is not None
    del fake.webhook["webhooks"][1]["clientConfig"]["caBundle"]
    assert fake.cluster().put_ca_bundle(secret_ca(fake))
    assert base64.b64decode(fake.bundles()[1] or "") == secret_ca(fake)


def test_a_leaf_is_renewed_in_time_and_an_authority_that_changed_is_taken(
    fake: FakeCluster,
) -> None:
    clock, ends = Clock(), dict[str, dt.datetime]()

    async def live() -> None:
        one = replica(fake, clock, ends)
        await one.serve()
        assert ends["leaf"] == START + dt.timedelta(days=7)
        clock.now += dt.timedelta(days=1)
        await kept_once(one)
        assert ends["leaf"] == START + dt.timedelta(days=7)
        clock.now += dt.timedelta(days=4)
        await kept_once(one)
        assert ends["leaf"] == START + dt.timedelta(days=12)
        other = certificates.new_authority(clock.now)
        del fake.secrets[names.CA_SECRET]
        fake.cluster().create_ca(other.data())
        await kept_once(one)
        assert ends["ca"] == other.certificate.not_valid_after_utc
        assert base64.b64decode(fake.bundles()[0] or "") == other.pem()

    asyncio.run(live())


def test_a_secret_that_was_deleted_is_written_anew_with_the_same_authority(
    fake: FakeCluster,
) -> None:
    async def live() -> None:
        one = replica(fake, Clock())
        await one.serve()
        before = secret_ca(fake)
        fake.secrets.clear()
        await kept_once(one)
        assert secret_ca(fake) == before

    asyncio.run(live())


def test_an_api_server_that_is_down_is_waited_for(
    fake: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "_RETRY", 0.01)
    fake.down = True

    async def live() -> None:
        one = replica(fake, Clock())
        task = asyncio.create_task(one.serve())
        while sum(fake.requests.values()) < 3:  # noqa: ASYNC110 - another thread counts
            await asyncio.sleep(0.01)
        assert not task.done()
        fake.down = False
        await task

    asyncio.run(live())


def test_what_is_wrong_is_said_in_words(fake: FakeCluster) -> None:
    fake.webhook = None
    with pytest.raises(
        ClusterError,
        match="cannot read or patch mutatingwebhookconfiguration `thoughtgate-injector`: 404",
    ):
        fake.cluster().put_ca_bundle(b"x")
    fake.down = True
    with pytest.raises(ClusterError, match="cannot read secret `thoughtgate-injector-ca`: 503"):
        fake.cluster().read_ca()
    gone = FakeCluster()
    gone.url = "http://127.0.0.1:1"
    with pytest.raises(ClusterError, match="the API server does not answer"):
        gone.cluster().read_ca()
