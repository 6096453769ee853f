"""The CA's Secret and the caBundle, as the API server has them."""

import base64
import datetime as dt
from collections.abc import Iterator

import pytest

from tests.injector.fake_cluster import FakeCluster
from thoughtgate_injector.core import names
from thoughtgate_injector.kube.client import KubeError

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


@pytest.fixture
def fake() -> Iterator[FakeCluster]:
    fake = FakeCluster()
    with fake.listening():
        fake.now = NOW
        yield fake


def test_the_secret_is_created_by_the_first_and_changed_by_who_read_it_last(
    fake: FakeCluster,
) -> None:
    first, second = {"ca.crt": b"1", "ca.key": b"1"}, {"ca.crt": b"2", "previous.crt": b"1"}

    async def replicas() -> None:
        store = fake.store()
        assert (await store.read_ca()).stored is None
        assert await store.create_ca(first)
        assert not await store.create_ca(second)
        read = await store.read_ca()
        assert read.at == NOW
        assert read.stored
        assert read.stored.data == first
        assert await store.replace_ca(read.stored, second)
        assert not await store.replace_ca(read.stored, first)

    fake.run(replicas())
    data = fake.secrets[names.CA_SECRET]["data"]
    assert {key: base64.b64decode(value) for key, value in data.items()} == second


def test_what_is_wrong_is_said_in_words(fake: FakeCluster) -> None:
    fake.webhook = None
    with pytest.raises(
        KubeError,
        match="cannot read mutatingwebhookconfigurations `thoughtgate-injector`: 404 Not Found; ",
    ):
        fake.run(fake.store().put_ca_bundle(b"x"))
    fake.down = True
    with pytest.raises(KubeError, match="cannot read secret `thoughtgate-injector-ca`: 503"):
        fake.run(fake.store().read_ca())
    gone = FakeCluster()
    gone.url = "http://127.0.0.1:1"
    with pytest.raises(KubeError, match="the API server does not answer"):
        gone.run(gone.store().read_ca())


def test_data_that_is_not_base64_is_said_in_words(fake: FakeCluster) -> None:
    fake.secrets[names.CA_SECRET] = {"metadata": {"resourceVersion": "1"}, "data": {"ca.crt": "?"}}
    with pytest.raises(KubeError, match="cannot read secret `thoughtgate-injector-ca`: "):
        fake.run(fake.store().read_ca())
