"""Replicas agree on one CA, serve fresh leaves, and put the caBundle back."""

import asyncio
import base64
import datetime as dt
import ssl
from collections.abc import Iterator

import pytest

from tests.harness.wait import within
from tests.injector.fake_cluster import FakeCluster
from tests.injector.tls.test_certificates import handshake, trusting
from thoughtgate_injector.core import names
from thoughtgate_injector.tls import cert_rotator, certificates
from thoughtgate_injector.tls.cert_rotator import CertRotator
from thoughtgate_injector.tls.certificates import Authorities

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
HOST = "x.svc"


@pytest.fixture
def fake() -> Iterator[FakeCluster]:
    fake = FakeCluster()
    with fake.listening():
        fake.now = START
        yield fake


class Replica:
    """A replica's trust, and what it has told."""

    def __init__(self, fake: FakeCluster) -> None:
        self.ends: dict[str, dt.datetime] = {}
        self.trouble: list[str | None] = []
        self._looked = asyncio.Event()
        self.trust = CertRotator(fake.store(), [HOST], self.ends.__setitem__, self._told)

    def _told(self, trouble: str | None) -> None:
        self.trouble.append(trouble)
        self._looked.set()

    async def serve(self) -> "Replica":
        await self.trust.serve()
        return self

    async def look(self) -> str | None:
        """Let it look after its trust once; what it said of that."""
        self._looked.clear()
        task = asyncio.create_task(self.trust.keep())
        await self._looked.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return self.trouble[-1]


def secret(fake: FakeCluster) -> dict[str, bytes]:
    data = fake.secrets[names.CA_SECRET]["data"]
    return {key: base64.b64decode(value) for key, value in data.items()}


def bundles(fake: FakeCluster) -> set[bytes]:
    return {base64.b64decode(bundle or "") for bundle in fake.bundles()}


def is_trusted(fake: FakeCluster, one: Replica) -> bool:
    """Whether the API server, with our webhook's caBundle, shakes hands with this replica."""
    [bundle] = bundles(fake)
    client = trusting(bundle)
    # OpenSSL asks the machine's clock, which is not the test's.
    client.verify_flags |= 0x200000  # X509_V_FLAG_NO_CHECK_TIME
    try:
        handshake(client, one.trust.context, HOST)
    except ssl.SSLCertVerificationError:
        return False
    return True


def test_replicas_that_start_at_once_agree(fake: FakeCluster) -> None:
    async def start() -> None:
        replicas = [Replica(fake) for _ in range(4)]
        await asyncio.gather(*(one.serve() for one in replicas))
        await asyncio.gather(*(one.look() for one in replicas))
        assert all(is_trusted(fake, one) for one in replicas)

    fake.run(start())
    assert bundles(fake) == {secret(fake)["ca.crt"]}


def test_a_replica_that_starts_with_anothers_authority_uses_it(fake: FakeCluster) -> None:
    other = Authorities(certificates.new_authority(START - DAY))
    assert fake.run(fake.store().create_ca(other.data()))

    async def start() -> None:
        one = await Replica(fake).serve()
        assert await one.look() is None
        assert is_trusted(fake, one)

    fake.run(start())
    assert bundles(fake) == {other.newest.pem()}
    assert secret(fake) == other.data()


def test_the_bundle_is_written_once_and_put_back_when_it_is_gone(fake: FakeCluster) -> None:
    async def keep() -> None:
        one = await Replica(fake).serve()
        await one.look()
        await one.look()
        patches = [count for key, count in fake.requests.items() if key.startswith("PATCH")]
        assert patches == [1, 1]
        assert fake.webhook is not None
        # As an apply of the manifests by somebody who keeps no field that is not his.
        del fake.webhook["webhooks"][1]["clientConfig"]["caBundle"]
        await one.look()
        assert bundles(fake) == {secret(fake)["ca.crt"]}

    fake.run(keep())


def test_a_leaf_is_renewed_in_time(fake: FakeCluster) -> None:
    async def live() -> None:
        one = await Replica(fake).serve()
        assert one.ends["leaf"] == START + 7 * DAY
        fake.now = START + DAY
        await one.look()
        assert one.ends["leaf"] == START + 7 * DAY
        fake.now = START + 5 * DAY
        await one.look()
        assert one.ends["leaf"] == START + 12 * DAY

    fake.run(live())


def test_an_authority_is_followed_by_the_next_while_every_replica_is_trusted(
    fake: FakeCluster,
) -> None:
    async def live() -> None:
        replicas = [await Replica(fake).serve() for _ in range(3)]
        for one in replicas:
            await one.look()
        [before] = bundles(fake)
        now = START + 250 * DAY
        ended = now + certificates.OVERLAP
        while now <= ended + DAY:
            fake.now = now
            for one in replicas:
                assert await one.look() is None
                # Whoever has looked last, and whoever will look next.
                assert all(is_trusted(fake, each) for each in replicas), now
            now += dt.timedelta(minutes=4) if now < START + 250.02 * DAY else DAY
        [after] = bundles(fake)
        assert before not in after
        assert after == secret(fake)["ca.crt"]
        assert replicas[0].ends["ca"] == START + 615 * DAY

    fake.run(live())
    creations = fake.requests[f"POST /api/v1/namespaces/{names.NAMESPACE}/secrets"]
    assert creations == 1


def test_an_operator_can_ask_for_a_new_authority(fake: FakeCluster) -> None:
    async def live() -> None:
        one = await Replica(fake).serve()
        await one.look()
        before = secret(fake)["ca.crt"]
        stored = (await fake.store().read_ca()).stored
        assert stored
        await fake.store().replace_ca(stored, {**stored.data, "rotate": b"please"})
        await one.look()
        after = secret(fake)
        assert after.keys() == {"ca.crt", "ca.key", "previous.crt", "previous.key"}
        assert after["previous.crt"] == before
        assert after["ca.crt"] != before
        await one.look()
        assert secret(fake) == after

    fake.run(live())


def test_a_replica_whose_secret_was_exchanged_takes_what_is_there(fake: FakeCluster) -> None:
    async def live() -> None:
        one = await Replica(fake).serve()
        other = Authorities(certificates.new_authority(START))
        del fake.secrets[names.CA_SECRET]
        await fake.store().create_ca(other.data())
        await one.look()
        assert is_trusted(fake, one)
        assert bundles(fake) == {other.newest.pem()}

    fake.run(live())


def test_a_secret_that_was_deleted_is_written_anew_with_the_same_authority(
    fake: FakeCluster,
) -> None:
    async def live() -> None:
        one = await Replica(fake).serve()
        before = secret(fake)
        fake.secrets.clear()
        await one.look()
        assert secret(fake) == before

    fake.run(live())


def test_a_new_replica_that_finds_no_secret_keeps_the_running_ones_trusted(
    fake: FakeCluster,
) -> None:
    async def live() -> None:
        running = await Replica(fake).serve()
        await running.look()
        fake.secrets.clear()
        new = await Replica(fake).serve()
        assert await new.look() is None
        assert is_trusted(fake, new)
        assert is_trusted(fake, running)
        await running.look()
        assert is_trusted(fake, running)
        assert secret(fake)["previous.crt"]

    fake.run(live())


GARBAGE = {"ca.crt": b"garbage", "ca.key": b"garbage"}


def test_garbage_in_the_secret_stops_no_running_replica_and_is_left_for_people_to_see(
    fake: FakeCluster,
) -> None:
    async def live() -> None:
        one = await Replica(fake).serve()
        await one.look()
        stored = (await fake.store().read_ca()).stored
        assert stored
        await fake.store().replace_ca(stored, GARBAGE)
        fake.now = START + 5 * DAY
        trouble = await one.look()
        assert trouble is not None
        assert "`thoughtgate-injector-ca` holds no usable CA: `ca.crt` cannot be read" in trouble
        assert trouble.endswith("delete it, and a new one is made")
        assert secret(fake) == GARBAGE
        # It goes on for months: its leaf is renewed with the CA that it knows.
        assert one.ends["leaf"] == START + 12 * DAY
        assert is_trusted(fake, one)
        fake.secrets.clear()
        assert await one.look() is None
        assert secret(fake)["ca.crt"] in bundles(fake)

    fake.run(live())


def test_a_new_replica_waits_with_words_while_the_secret_is_garbage(
    fake: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cert_rotator, "_RETRY", 0.01)
    fake.run(fake.store().create_ca(GARBAGE))

    async def live() -> None:
        one = Replica(fake)
        task = asyncio.create_task(one.serve())
        await within(lambda: one.trouble, "the replica's trouble")
        assert "holds no usable CA" in str(one.trouble[0])
        fake.secrets.clear()
        await task
        assert await one.look() is None

    fake.run(live())


def test_an_authority_that_ended_while_nothing_ran_is_replaced(fake: FakeCluster) -> None:
    old = Authorities(certificates.new_authority(START - 400 * DAY))
    fake.run(fake.store().create_ca(old.data()))

    async def live() -> None:
        one = await Replica(fake).serve()
        assert await one.look() is None
        assert is_trusted(fake, one)
        assert secret(fake)["ca.crt"] != old.newest.pem()

    fake.run(live())


def test_a_bundle_that_cannot_be_written_keeps_no_leaf_from_being_renewed(
    fake: FakeCluster,
) -> None:
    async def live() -> None:
        one = await Replica(fake).serve()
        await one.look()
        fake.now, fake.webhook = START + 5 * DAY, None
        assert "cannot read mutatingwebhookconfigurations" in str(await one.look())
        assert one.ends["leaf"] == START + 12 * DAY

    fake.run(live())


def test_an_api_server_that_is_down_is_waited_for(
    fake: FakeCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cert_rotator, "_RETRY", 0.01)
    fake.down = True

    async def live() -> None:
        one = Replica(fake)
        task = asyncio.create_task(one.serve())
        await within(lambda: sum(fake.requests.values()) >= 3, "three requests")
        assert not task.done()
        fake.down = False
        await task

    fake.run(live())
