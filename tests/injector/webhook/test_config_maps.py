"""ConfigMaps on their way into the cluster, over TLS as the API server sends them."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.wait import run
from tests.injector.fake_cluster import FakeCluster
from tests.injector.replica import Replica, replica, review
from tests.injector.webhook.test_config_check import EXAMPLE
from thoughtgate_injector.core import config_map

RESOURCE = {"group": "", "version": "v1", "resource": "configmaps"}


@pytest.fixture
def fake() -> Iterator[FakeCluster]:
    fake = FakeCluster()
    with fake.listening():
        yield fake


async def answer(one: Replica, document: dict[str, Any], **fields: Any) -> dict[str, Any]:
    fields = {"resource": RESOURCE, "name": "thoughtgate-config", **fields}
    status, text, _ = await one.post(
        "/check/config", json.dumps(review(document, **fields)).encode()
    )
    assert status == 200, text
    response: dict[str, Any] = json.loads(text)["response"]
    return response


def changed(old: str, new: str) -> dict[str, Any]:
    text = EXAMPLE["data"]["config.yaml"]
    assert old in text
    return {**EXAMPLE, "data": {**EXAMPLE["data"], "config.yaml": text.replace(old, new)}}


def test_the_example_asks_to_be_checked() -> None:
    assert config_map.is_config(EXAMPLE)
    assert not config_map.is_config({"kind": "ConfigMap", "metadata": {"labels": None}})
    assert not config_map.is_config({**EXAMPLE, "kind": "Secret"})


def test_reviews_of_configmaps(fake: FakeCluster) -> None:
    @run
    async def reviews() -> None:
        async with replica(fake) as one:
            await one.ready()
            good = await answer(one, EXAMPLE)
            assert good["allowed"]
            assert good["warnings"][0].startswith("config.yaml:26:")

            bad = changed("action: deny", "action: denied\n      mach: x")
            refused = await answer(one, bad, operation="UPDATE")
            assert not refused["allowed"]
            assert refused["status"]["code"] == 403
            first, *mistakes = refused["status"]["message"].splitlines()
            assert first == "a sidecar would not start with this configuration:"
            assert len(mistakes) == 2
            assert all("governance.rules[2]" in mistake for mistake in mistakes)

            many = changed("rules:", "rules:\n" + "    - {a: b, action: deny}\n" * 60)
            lines = (await answer(one, many))["status"]["message"].splitlines()
            assert lines[-1] == "and 70 more"
            assert len(lines) == 52

            empty = await answer(one, {**EXAMPLE, "data": {}})
            assert "`config.yaml` is missing" in empty["status"]["message"]
            going = {**EXAMPLE, "metadata": {"deletionTimestamp": "x"}, "data": {}}
            assert (await answer(one, going))["allowed"]

            wrong = await answer(one, EXAMPLE, operation="DELETE")
            assert "sends something else" in wrong["status"]["message"]
            pods = {**RESOURCE, "resource": "pods"}
            assert not (await answer(one, EXAMPLE, resource=pods))["allowed"]
            status, text, _ = await one.post("/check/config", b"{}")
            assert (status, text[:17]) == (400, "this is no review")

            _, metrics = await one.get("/metrics")
            for outcome in ("accepted", "refused", "failed", "malformed"):
                name = "thoughtgate_injector_reviews_total"
                assert f'{name}{{entry="config",outcome="{outcome}"}}' in metrics

    reviews()
